"""The servers that bench/run compares, each on loopback in a directory of its own, in a Group of its own."""

import os
import pathlib
import pwd
import shutil
import subprocess

import bridge as e2e
from harness import ROOT, Group, own_directory, wait_until

CERTIFICATE = ("cert.pem", "key.pem")
PEERS = ROOT / "bench" / "peers"


def listening(port):
    return subprocess.run(["ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True).stdout != ""


class Server:
    name = ""

    def __init__(self, work, where):
        """work: where the certificate is. where: names the directory that is made."""
        self.dir = own_directory(work, where)
        for name in CERTIFICATE:
            shutil.copy(work / name, self.dir / name)
        self.port = e2e.free_port()
        self.group = Group()
        self.maildir = None

    def cpu(self):
        return self.group.cpu()

    def memory(self):
        return self.group.memory()

    def arrived(self):
        """Mails in the mailbox."""
        if self.maildir is None:
            return None
        new = self.maildir / "new"
        return len(os.listdir(new)) if new.is_dir() else 0

    def last_arrival(self):
        return (self.maildir / "new").stat().st_mtime

    def close(self):
        self.group.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Formbridge(Server):
    name = "formbridge"

    def __init__(self, work, where, form=None, more=None, start=True):
        super().__init__(work, where)
        config = {"bridge": {"listen": f"127.0.0.1:{self.port}", "max_per_address": 20000, **(more or {})},
                  "form order": {"once_window": "10m", "success": "https://localhost/thanks.html", **(form or {})}}
        self.bridge = e2e.Bridge(config, directory=self.dir, start=False)
        self.bridge.port = self.port
        self.maildir = self.bridge.maildir
        if start:
            self.start()

    def start(self, wait=True):
        outside, e2e.WRAPPER = e2e.WRAPPER, self.group.command()
        try:
            self.bridge.start(wait)
        finally:
            e2e.WRAPPER = outside
        self.group.roots = [self.bridge.process]

    def close(self):
        self.bridge.close()
        self.group.roots = []
        super().close()


NGINX = """
daemon off; worker_processes auto; pid {dir}/pid; error_log {dir}/log; {user}
events {{ worker_connections {connections}; }}
http {{
    access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
    keepalive_requests 1000000; keepalive_timeout 10m; client_max_body_size 12m;
    server {{
        listen 127.0.0.1:{port} ssl; ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem;
        ssl_protocols TLSv1.2; ssl_session_cache shared:s:4m; ssl_session_tickets off;
        ssl_ecdh_curve X25519:prime256v1;
        location / {{ {location} }}
    }}
}}"""


class Nginx(Server):
    """`return 303` over TLS with the same certificate: nothing is read, nothing stored."""

    name = "nginx"

    def __init__(self, work, where, connections=4096):
        super().__init__(work, where)
        start_nginx(self, "return 303 https://localhost/;", connections)


def start_nginx(server, location, connections=4096):
    user = "user www-data;" if os.geteuid() == 0 else ""
    (server.dir / "nginx.conf").write_text(NGINX.format(dir=server.dir, port=server.port, location=location, user=user,
                                                            connections=connections))
    server.group.start("nginx", "-c", server.dir / "nginx.conf", "-e", server.dir / "log")
    wait_until(lambda: listening(server.port), "nginx")


# A Postfix of the services that a mail takes through it, as Debian's master.cf has them but for the chroots.
MASTER = """
{smtpd}
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
showq unix n - n - - showq
postlog unix-dgram n - n - 1 postlogd
"""

MAIN = """
compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
maillog_file = {dir}/mail.log
maillog_file_prefixes = {dir}
myhostname = localhost
mydestination =
mynetworks = 127.0.0.0/8
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = example.com
virtual_mailbox_maps = inline:{{ orders@example.com=orders/ }}
virtual_mailbox_base = {dir}/mail
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
smtpd_tls_chain_files = {dir}/key.pem {dir}/cert.pem
message_size_limit = 51200000
mailbox_size_limit = 0
virtual_mailbox_limit = 0
"""


class Postfix:
    """Into a Maildir of the server's directory; smtp: a port, STARTTLS demanded. around: a command to run it with."""

    def __init__(self, server, smtp=None, around=()):
        directory = server.dir
        self.config = directory / "etc"
        shutil.copytree("/etc/postfix", self.config)
        for name in ("data", "queue", "mail"):
            (directory / name).mkdir()
        os.chown(directory / "data", pwd.getpwnam("postfix").pw_uid, 0)
        os.chown(directory / "mail", 65534, 65534)
        smtpd = f"127.0.0.1:{smtp} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt" if smtp else ""
        (self.config / "master.cf").write_text(MASTER.format(smtpd=smtpd))
        (self.config / "main.cf").write_text(MAIN.format(dir=directory))
        subprocess.run([*around, "postfix", "-c", self.config, "check"], check=True)
        server.group.start(*around, "/usr/lib/postfix/sbin/master", "-c", self.config, "-d")
        wait_until((directory / "queue/public/pickup").exists, "Postfix")
        server.maildir = directory / "mail/orders"


POOL = """
[global]
error_log = {dir}/fpm.log
daemonize = no
[www]
user = www-data
group = www-data
listen = {dir}/fpm.sock
listen.owner = www-data
listen.group = www-data
pm = dynamic
pm.max_children = 5
pm.start_servers = 2
pm.min_spare_servers = 1
pm.max_spare_servers = 3
"""  # the pool is Debian's own


class PhpMailer(Server):
    """nginx, php-fpm, PHP mail(), Debian's sendmail command, Postfix. The command finds its Postfix in /etc/postfix,
    as on any server: in a mount namespace that is this one's."""

    name = "php"

    def __init__(self, work, where):
        super().__init__(work, where)
        shutil.copy(PEERS / "mail.php", self.dir / "mail.php")
        holder = self.group.start("unshare", "--mount", "sleep", "infinity")
        ours = os.readlink("/proc/self/ns/mnt")
        wait_until(lambda: os.readlink(f"/proc/{holder.pid}/ns/mnt") != ours, "mount namespace")
        within = ["nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", "--wdns=/"]
        config = self.dir / "etc"
        config.mkdir()
        subprocess.run([*within, "mount", "--make-rprivate", "/"], check=True)
        shutil.rmtree(config)
        Postfix(self)
        subprocess.run([*within, "mount", "--bind", config, "/etc/postfix"], check=True)
        (self.dir / "pool.conf").write_text(POOL.format(dir=self.dir))
        fpm = sorted(pathlib.Path("/usr/sbin").glob("php-fpm*"))[-1]
        self.group.start(*within, fpm, "--nodaemonize", "--fpm-config", self.dir / "pool.conf")
        wait_until((self.dir / "fpm.sock").exists, "php-fpm")
        start_nginx(self, f"include /etc/nginx/fastcgi_params; fastcgi_param SCRIPT_FILENAME {self.dir}/mail.php; "
                          f"fastcgi_pass unix:{self.dir}/fpm.sock;")


class NodeMailer(Server):
    """Node with express, multer and nodemailer, Postfix over STARTTLS."""

    name = "node"

    def __init__(self, work, where):
        super().__init__(work, where)
        smtp = e2e.free_port()
        Postfix(self, smtp)
        self.group.start("node", PEERS / "mailer.js", self.port, self.dir / "cert.pem", self.dir / "key.pem", smtp,
                         env={**os.environ, "NODE_ENV": "production"})
        wait_until(lambda: listening(self.port) and listening(smtp), "Node")
