"""Thunderbird as an owner has it: a certificate imported, an account, mail fetched and opened; and what it then shows."""

import base64

from marionette import Marionette

# Every script of this file runs in the main window, with the rights of the program.
START = """
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const certificates = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
const done = arguments[arguments.length - 1];
const until = async (condition, state) => {
    for (let tries = 0; tries < 200; tries++) {
        const result = condition();
        if (result) {
            return result;
        }
        await new Promise(done => setTimeout(done, 50));
    }
    throw new Error(`still ${state()}`);
};
(async ([...given]) => {
"""
END = """
})(arguments).then(done, e => done({failed: `${e} ${e.stack}`}));
"""

# What the buttons Import of the certificate manager do.
TRUST = "certificates.addCertFromBase64(given[0], 'C,C,');"
# What the button Confirm Security Exception does.
ACCEPT = """
const service = Cc["@mozilla.org/security/certoverride;1"].getService(Ci.nsICertOverrideService);
service.rememberValidityOverride("localhost", given[0], {}, certificates.constructX509FromBase64(given[1]), true);
"""
IMPORT = """
const file = Cc["@mozilla.org/file/local;1"].createInstance(Ci.nsIFile);
file.initWithPath(given[0]);
return certificates.importPKCS12File(file, given[1]);
"""

ACCOUNT = """
const [kind, user, password, address, port] = given;
const server = MailServices.accounts.createIncomingServer(user, "localhost", kind);
Object.assign(server, {port, password, socketType: Ci.nsMsgSocketType.SSL, authMethod: Ci.nsMsgAuthMethod.passwordCleartext});
const identity = MailServices.accounts.createIdentity();
identity.email = address;
const account = MailServices.accounts.createAccount();
account.addIdentity(identity);
account.incomingServer = server;
"""

# New mail of the account, once there are so many: pairs of subject in the list, and where the message is.
FETCH = """
const server = MailServices.accounts.findServer(given[0], "localhost", given[1]);
let status;
for (let tries = 0; tries < 100; tries++) { // a new account is busy with itself at first
    const inbox = server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox);
    status = await new Promise(done => {
        const listener = {OnStartRunningUrl() {}, OnStopRunningUrl(url, status) { done(status); }};
        if (given[1] == "pop3") {
            MailServices.pop3.GetNewMail(window.msgWindow, listener, inbox, server);
        } else {
            inbox.QueryInterface(Ci.nsIMsgImapMailFolder).updateFolderWithListener(window.msgWindow, listener);
        }
    });
    const mails = [...inbox.messages];
    if (mails.length >= given[2]) {
        return mails.map(m => [m.mime2DecodedSubject, inbox.getUriForMsg(m)]);
    }
    await new Promise(done => setTimeout(done, 100));
}
throw new Error(`fetching ended with ${status.toString(16)}`);
"""

# Opens the message in a tab, as a double click does, and returns what there is to see.
OPEN = """
const tabs = document.getElementById("tabmail");
const tab = tabs.openTab("mailMessageTab", {messageURI: given[0]});
const state = page => {
    const pane = page?.getMessagePaneBrowser?.();
    return [page?.msgLoaded, page?.gSmimeProcessedDispatched, page?.gEncryptionStatus, pane?.contentTitle,
        pane?.contentDocument?.body?.offsetHeight]; // innerText is of what is laid out
};
const page = await until(() => {
    const page = tab.chromeBrowser.contentWindow, [loaded, checked, encryption, title, height] = state(page);
    return (encryption > 0 ? title : loaded && checked && height) && page;
}, () => state(tab.chromeBrowser.contentWindow));
const shown = id => (e => e.hidden ? null : e.alt)(page.document.getElementById(id));
// An icon gets its words a moment after it is shown.
await until(() => shown("encryptedHdrIcon") !== "" && shown("signedHdrIcon") !== "", () => "the words of the icons");
if (page.gEncryptionStatus > 0) { // a page of Thunderbird's own stands in its place
    const result = {encrypted: shown("encryptedHdrIcon"), text: page.getMessagePaneBrowser().contentTitle, files: []};
    tabs.closeTab(tab);
    return result;
}
const message = page.getMessagePaneBrowser().contentDocument;
const files = [];
for (const attachment of page.currentAttachments) {
    const bytes = new Uint8Array(await attachment.fetchAttachment());
    files.push([attachment.name, attachment.contentType, bytes.reduce((all, byte) => all + String.fromCharCode(byte), "")]);
}
const result = {encrypted: shown("encryptedHdrIcon"), signed: shown("signedHdrIcon"), signer: page.gSignerCert?.commonName ?? null,
    text: (message.querySelector(".moz-text-plain, .moz-text-html, .moz-text-flowed") || message.body).innerText,
    files: files.map(([name, kind, bytes]) => [name, kind, btoa(bytes)])};
tabs.closeTab(tab);
return result;
"""


def base64_of(pem):
    return "".join(pem.decode().strip().split("\n")[1:-1])


class Thunderbird(Marionette):
    def __init__(self, profile):
        super().__init__("thunderbird", profile, {
            "mail.provider.enabled": False, "mail.spotlight.firstRunDone": True, "mailnews.start_page.enabled": False, "mail.rights.version": 1,
            "mail.shell.checkDefaultClient": False, "mailnews.database.global.indexer.enabled": False, "mail.chat.enabled": False,
            "app.donation.eoy.version.viewed": 999})
        self.command("Marionette:SetContext", value="chrome")

    def do(self, script, *given):
        result = self.script(START + script + END, *given, wait=True)
        assert not (isinstance(result, dict) and "failed" in result), result["failed"]
        return result

    def trust(self, pem):
        """Imports this authority for servers and for mail."""
        self.do(TRUST, base64_of(pem))

    def accept(self, port, pem):
        """Takes this certificate for the server of this port, whoever issued it."""
        self.do(ACCEPT, port, base64_of(pem))

    def import_key(self, path, password):
        assert self.do(IMPORT, str(path), password) == 0, "it is taken"

    def account(self, kind, user, password, address, port):
        self.do(ACCOUNT, kind, user, password, address, port)

    def fetch(self, user, kind, count):
        return self.do(FETCH, user, kind, count)

    def open(self, uri):
        shown = self.do(OPEN, uri)
        shown["files"] = [(name, kind, base64.b64decode(content)) for name, kind, content in shown["files"]]
        return shown
