/* Trust anchors: the certificates that all trust in mail hosts comes from. */

#include "bridge.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SYSTEM_FILE "/etc/ssl/certs/ca-certificates.crt"
#define SYSTEM_DIR  "/etc/ssl/certs"

enum {
    ANCHORS_MAX = 1024,
    ANCHORS_BYTES = 4 << 20,
};

struct place { /* of one certificate in anchors->der */
    size_t at, len;
};

struct loader {
    struct anchors *anchors;
    struct place places[ANCHORS_MAX];
    size_t count;
};

static bool read_file(struct loader *l, const char *path, char *why, size_t why_size)
{
    struct pem_source source = {path, why, why_size};
    struct buf *der = &l->anchors->der;
    struct pem p;
    if (!pem_load(&p, &source, false)) {
        return false;
    }
    for (size_t i = 0; i < p.count && l->count < ANCHORS_MAX; i++) {
        if (pem_is_cert(&p.blocks[i])) {
            struct der cert = pem_der(&p, i);
            l->places[l->count++] = (struct place){der->len, cert.len};
            buf_put(der, cert.at, cert.len);
        }
    }
    pem_free(&p);
    return buf_ok(der) || pem_complain(&source, "out of memory, or more than 4 MiB of certificates");
}

/* The directory that c_rehash keeps: the same certificates under several names, of which one kind will do. */
static bool read_directory(struct loader *l, char *why, size_t why_size)
{
    DIR *dir = opendir(SYSTEM_DIR);
    if (dir == NULL) {
        text_fmt(why, why_size, "%s: %s; install the package ca-certificates, or set trust or pin",
                 SYSTEM_DIR, strerror(errno));
        return false;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        size_t len = strlen(entry->d_name);
        char path[sizeof SYSTEM_DIR + 1 + sizeof entry->d_name];
        if (len > 4 && strcmp(entry->d_name + len - 4, ".pem") == 0 &&
            text_fmt(path, sizeof path, "%s/%s", SYSTEM_DIR, entry->d_name)) {
            (void)read_file(l, path, why, why_size); /* one that cannot be read is one anchor less */
        }
    }
    closedir(dir);
    return true;
}

static bool read_all(struct loader *l, const char *file, char *why, size_t why_size)
{
    if (file != NULL) {
        return read_file(l, file, why, why_size);
    }
    return access(SYSTEM_FILE, F_OK) == 0 ? read_file(l, SYSTEM_FILE, why, why_size)
                                          : read_directory(l, why, why_size);
}

/* Takes one certificate as an anchor if it may be one; otherwise says why not. */
static const char *add_anchor(struct anchors *a, struct place place, int64_t now)
{
    struct cert cert;
    if (!x509_read(&cert, a->der.data + place.at, place.len)) {
        return "is not a certificate";
    }
    if (now > cert.not_after || now < cert.not_before) {
        return "is expired or not yet valid";
    }
    if (cert.key.key_type == 0) {
        return "has a key that is neither RSA nor P-256 or P-384";
    }
    if (cert.key.key_type == BR_KEYTYPE_RSA && cert.key_bits < RSA_BITS_MIN) {
        return "has an RSA key of less than 2048 bits";
    }
    if (cert.constraints) {
        return "carries name constraints, which are not supported";
    }
    /* A certificate that is not a CA is trusted for itself alone. */
    a->list[a->count++] = (br_x509_trust_anchor){
        .dn = {.data = a->der.data + (size_t)(cert.subject.at - a->der.data), .len = cert.subject.len},
        .flags = cert.ca ? BR_X509_TA_CA : 0,
        .pkey = cert.key,
    };
    return NULL;
}

struct anchors *anchors_load(const char *file, int64_t now, char *why, size_t why_size)
{
    struct anchors *a = calloc(1, sizeof *a);
    struct loader *l = calloc(1, sizeof *l);
    bool ok = a != NULL && l != NULL;
    if (ok) {
        buf_init(&a->der, ANCHORS_BYTES);
        l->anchors = a;
        ok = read_all(l, file, why, why_size);
        a->list = calloc(l->count + 1, sizeof *a->list);
    }
    if (a == NULL || l == NULL || a->list == NULL) {
        text_fmt(why, why_size, "out of memory for trust anchors");
        ok = false;
    }
    const char *fault = "has no certificate in PEM form";
    for (size_t i = 0; ok && i < l->count; i++) {
        const char *f = add_anchor(a, l->places[i], now);
        fault = f != NULL ? f : fault;
    }
    if (ok && a->count == 0) {
        text_fmt(why, why_size, "%s: no usable trust anchor: the %s %s", file == NULL ? SYSTEM_FILE : file,
                 l->count == 0 ? "file" : "last certificate in it", fault);
        ok = false;
    }
    free(l);
    if (!ok) {
        anchors_free(a);
        a = NULL;
    }
    return a;
}

void anchors_free(struct anchors *a)
{
    if (a != NULL) {
        free(a->list);
        buf_free(&a->der);
        free(a);
    }
}
