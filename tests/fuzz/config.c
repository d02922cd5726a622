/* Any bytes are a config whose promises hold, or a list of mistakes by line; never both, never neither. */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* What others rely on without asking. */
static void check_conf(const struct conf *c)
{
    require(c->hostname != NULL && c->certificate != NULL && c->private_key != NULL && c->spool != NULL);
    require(c->listen_count > 0 && c->forms != NULL && c->max_body > 0 && c->max_body <= c->max_memory);
    for (size_t i = 0; i < c->admin_listen_count; i++) {
        require(c->admin_listen[i].addr.ss_family == AF_UNIX ||
                network_is_loopback(&c->admin_listen[i].addr));
    }
    for (const struct mailhost *m = c->mailhosts; m != NULL; m = m->next) {
        require(m->server != NULL && m->server[0] != '\0' && m->tls_name != NULL && m->tls_name[0] != '\0');
        require(m->port != 0 && m->connections > 0 && (m->pin_count > 0 || !m->pin_only));
        require((m->username == NULL) == (m->password_file == NULL));
    }
    for (const struct form_conf *f = c->forms; f != NULL; f = f->next) {
        require(conf_form(c, f->name, strlen(f->name)) == f && value_name(f->name));
        require(f->to_count > 0 && f->from != NULL && f->subject != NULL && f->title != NULL &&
                f->target_count > 0);
        require(f->max_body > 0 && f->max_body <= c->max_body);
        for (size_t i = 0; i < f->target_count; i++) {
            const struct target *t = &f->targets[i];
            require((t->path != NULL) + (t->loopback != NULL) + (t->host != NULL) == 1);
            require(t->loopback == NULL || network_is_loopback(&t->loopback->addr));
        }
    }
}

static void check_errors(const char *text)
{
    unsigned long last = 0;
    while (*text != '\0') {
        require(strncmp(text, "c.ini:", 6) == 0);
        char *end;
        unsigned long line = strtoul(text + 6, &end, 10);
        require(line > 0 && line >= last && *end == ':');
        last = line;
        text = strchr(end, '\n');
        require(text != NULL);
        text++;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf errors;
    buf_init(&errors, SIZE_MAX);
    struct conf *c = conf_parse("c.ini", data, size, &errors);
    require((c == NULL) == (errors.len > 0));
    if (c != NULL) {
        check_conf(c);
        conf_free(c);
    } else {
        check_errors(buf_text(&errors));
    }
    buf_free(&errors);
    return 0;
}
