/* Passwords as yescrypt hashes, by libcrypt. */

#include "bridge.h"

#include <crypt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

#define PREFIX "$y$" /* yescrypt, crypt(5) */

enum {
    RANDOM = 16,
    NEW_LETTERS = 20,
    DIGEST_LETTERS = 43,
    PASSWORD_LEAST = 8,
    PASSWORD_LINE = POPCMD_LINE_MAX - 7 + 1, /* less "PASS " and CRLF; and a NUL */
};

/* Whatever hash says of its cost is what this costs. The result is empty if there is no memory or no such setting. */
static void compute(const char *password, const char *setting, char out[PASSWD_HASH_SIZE])
{
    struct crypt_data *data = calloc(1, sizeof *data);
    const char *hash = data == NULL ? NULL : crypt_rn(password, setting, data, (int)sizeof *data);
    if (hash == NULL || hash[0] == '*' || !text_copy(out, PASSWD_HASH_SIZE, hash)) {
        out[0] = '\0';
    }
    if (data != NULL) {
        explicit_bzero(data, sizeof *data);
        free(data);
    }
}

bool passwd_hash(const char *password, const unsigned char *random, char out[PASSWD_HASH_SIZE])
{
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    if (crypt_gensalt_rn(PREFIX, 0, (const char *)random, RANDOM, setting, sizeof setting) == NULL) {
        return false;
    }
    compute(password, setting, out);
    return out[0] != '\0';
}

/* Letters and digits that cannot be mistaken for each other, in groups: 20 of 32 are 100 bits. */
bool passwd_new(char out[PASSWD_NEW_SIZE])
{
    static const char letters[] = "abcdefghjkmnpqrstuvwxyz023456789";
    unsigned char random[NEW_LETTERS];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        return false;
    }
    char *at = out;
    for (size_t i = 0; i < NEW_LETTERS; i++) {
        if (i > 0 && i % 5 == 0) {
            *at++ = '-';
        }
        *at++ = letters[random[i] % 32];
    }
    *at = '\0';
    explicit_bzero(random, sizeof random);
    return true;
}

bool passwd_matches(const char *hash, const char *password)
{
    char computed[PASSWD_HASH_SIZE] = "", wanted[PASSWD_HASH_SIZE] = "";
    if (!text_copy(wanted, sizeof wanted, hash)) {
        return false;
    }
    compute(password, hash, computed);
    bool same = hash_same(computed, wanted, sizeof computed) && computed[0] != '\0';
    explicit_bzero(computed, sizeof computed);
    return same;
}

bool passwd_is_hash(const char *text)
{
    static const char letters[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz$";
    unsigned parts = 0; /* "", method, cost, salt, digest */
    for (const char *at = text; (at = strchr(at, '$')) != NULL; at++) {
        parts++;
    }
    return parts == 4 && strncmp(text, PREFIX, strlen(PREFIX)) == 0 && strlen(text) < PASSWD_HASH_SIZE &&
           strspn(text, letters) == strlen(text) && strlen(strrchr(text, '$') + 1) == DIGEST_LETTERS &&
           crypt_checksalt(text) == CRYPT_SALT_OK;
}

/* ---- formbridge passwd ----------------------------------------------------------------------- */

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
    (void)sig;
    interrupted = 1;
}

/* One line of stdin without its end. false: there is none, or it is too long. */
static bool read_line(char *out, size_t size)
{
    size_t len = 0;
    char c = '\0';
    ssize_t n = 0;
    while (!interrupted && (n = read(STDIN_FILENO, &c, 1)) == 1 && c != '\n' && len + 1 < size) {
        out[len++] = c;
    }
    out[len] = '\0';
    return !interrupted && n >= 0 && (c == '\n' || (n == 0 && len > 0));
}

/* Without echo; whatever ends the question, the terminal is as it was. */
static bool ask(const char *question, char *out, size_t size)
{
    struct termios before, silent;
    struct sigaction handle = {.sa_handler = on_signal}, old_int, old_term;
    if (tcgetattr(STDIN_FILENO, &before) != 0) {
        return read_line(out, size);
    }
    sigaction(SIGINT, &handle, &old_int);
    sigaction(SIGTERM, &handle, &old_term);
    silent = before;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    bool ok = tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent) == 0;
    fputs(question, stderr);
    ok = ok && read_line(out, size);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    fputc('\n', stderr);
    sigaction(SIGINT, &old_int, NULL);
    sigaction(SIGTERM, &old_term, NULL);
    return ok;
}

/* NULL: it will do. */
static const char *fault(const char *password)
{
    for (const char *at = password; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f) {
            return "a password with a control character cannot be typed in a mail program: choose another";
        }
    }
    return strlen(password) < PASSWORD_LEAST
               ? "a password of less than 8 characters is guessed soon: choose a longer one"
               : NULL;
}

static int refuse(const char *why)
{
    fprintf(stderr, "formbridge: %s\n", why);
    return EX_DATAERR;
}

static int hash_one(char *first, char *second, size_t size)
{
    if (!ask("Password: ", first, size)) {
        return refuse("no password was given, or one of more than 248 bytes, which no POP3 line can hold");
    }
    const char *why = fault(first);
    if (why != NULL) {
        return refuse(why);
    }
    if (isatty(STDIN_FILENO) && (!ask("The same again: ", second, size) || strcmp(first, second) != 0)) {
        return refuse("the two are not the same: start again");
    }
    unsigned char random[RANDOM];
    char hash[PASSWD_HASH_SIZE];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random || !passwd_hash(first, random, hash)) {
        fputs("formbridge: cannot make a hash: no memory\n", stderr);
        return EX_OSERR;
    }
    puts(hash);
    return EX_OK;
}

int passwd_run(void)
{
    char first[PASSWORD_LINE], second[PASSWORD_LINE];
    int code = hash_one(first, second, sizeof first);
    explicit_bzero(first, sizeof first);
    explicit_bzero(second, sizeof second);
    return code;
}
