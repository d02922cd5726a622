/*
 * formbridge: a web form's post becomes a mail in the owner's mailbox.
 *
 * One block a file, lowest layer first; a file calls only files above it
 * here, and tests/order looks whether it does. Public names start with the
 * name of their file. Every length is in bytes and every time in seconds
 * unless the contract says otherwise.
 */

#ifndef BRIDGE_H
#define BRIDGE_H

#include <bearssl.h>
#include <dirent.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#define FORMBRIDGE_VERSION "0.1.0"

#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define COUNT(array)      (sizeof(array) / sizeof((array)[0]))

/* Limits. What an administrator may want to change is a key of the config;
 * these are the ceilings the code itself relies on. */
enum {
    REF_LEN = 14,           /* a receipt, "7K2M-Q9XD-4TRW" */
    REF_SIZE = REF_LEN + 1, /* with its NUL */
    FORM_NAME_MAX = 32,     /* name of a [form], [mailhost], [pickup]: [a-z0-9_-] */
    SPOOL_NAME_SIZE = 80,   /* 20261121T235216Z.7K2M-Q9XD-4TRW.FORM.spam and its NUL */
    REASON_SIZE = 512,      /* why a delivery did not happen, in words, with its NUL */
    ADDRESS_TEXT = 64,      /* "[2001:db8::1]:65535" and its NUL, with room */
    MAIL_ADDRESS_MAX = 254, /* RFC 5321 §4.5.3.1.3, less the angle brackets */
    FIELD_NAME_MAX = 256,   /* longer field names are refused, not cut */
    FILE_NAME_MAX = 255,    /* longer names of uploads are cut at a character */
    HOST_NAME_MAX_ = 253,   /* RFC 1035 §2.3.4, less the final dot */
    RSA_BITS_MIN = 2048,    /* of keys, anybody's */
    RSA_BITS_MAX = 4096,
    SIGNATURE_MAX = RSA_BITS_MAX / 8,
    FRONTS_MAX = 256,
    PICKUPS_MAX = 256,
    LISTEN_MAX = 64, /* addresses of one key */
    SIGNER_CLIENTS_MAX = 2 * FRONTS_MAX + PICKUPS_MAX,
    SIGNER_WAIT = 3000,       /* milliseconds a handshake waits for its signature */
    SIGNER_PROBE_EVERY = 250, /* milliseconds: a signer that did not answer is asked so often */
    SIGNER_PROBE_WAIT = 20,   /* milliseconds, and waited for so long */
};

/* ---- text.c: short texts, and ASCII whatever the locale (pure) -------------------------------- */

struct span { /* bytes that somebody else owns */
    const char *at;
    size_t len;
};

#define TEXT_BLANKS " \t"     /* RFC 9110 §5.6.3, RFC 5234 WSP */
#define TEXT_SPACES " \t\r\n" /* RFC 8259 §2, and what people leave around what they type */

char text_lower(char c);
bool text_digit(char c);
bool text_letter(char c);
bool text_alnum(char c);
/* The value of a hexadecimal digit; -1: it is none. */
int text_hex(char c);
/* The NUL is in no set. */
bool text_one_of(char c, const char *set);
/* Length of the token (RFC 9110 §5.6.2) at text. */
size_t text_token(const char *text, size_t len);
/* Are these bytes this word, but for the case of ASCII letters? */
bool text_same(const char *text, size_t len, const char *word);
/* All of it but its NUL; NULL is empty. */
struct span text_span(const char *text);
/* Less what is of the set around it. */
struct span text_trim(struct span s, const char *set);
/* A decimal number of 1 to 19 digits and nothing else. */
bool text_number(const char *text, size_t len, uint64_t *out);
/* A copy of at most size-1 bytes and a NUL; false, and an empty string, if it does not fit. */
bool text_copy(char *out, size_t size, const char *text);
/* snprintf that says whether everything fitted; on false out is cut but terminated. */
bool text_fmt(char *out, size_t size, const char *fmt, ...) PRINTF(3, 4);

/* ---- buf.c: bytes with a length, a ceiling and a sticky failure ---------------------------------
 *
 * Write a sequence, check once: after the ceiling or the memory ran out
 * every further call does nothing and buf_ok() stays false. Memory is wiped
 * before it is given back, also when a buffer moves as it grows. */

struct buf {
    unsigned char *data;
    size_t len;
    size_t cap;
    size_t max;    /* never grows beyond this */
    bool failed;   /* sticky */
    bool borrowed; /* data belongs to the caller: never grown, never freed */
};

/* Empty, on the heap, at most max bytes; owns nothing until first written. */
void buf_init(struct buf *b, size_t max);
/* Empty, in the caller's memory of cap bytes. */
void buf_borrow(struct buf *b, void *memory, size_t cap);
/* Wipes and frees; the buffer is empty and usable again with the same max. */
void buf_free(struct buf *b);
/* Empty again, not failed, memory kept. Does not wipe. */
void buf_clear(struct buf *b);
bool buf_ok(const struct buf *b);
void buf_put(struct buf *b, const void *bytes, size_t len);
void buf_byte(struct buf *b, unsigned char byte);
void buf_str(struct buf *b, const char *text);
void buf_fmt(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
/* Two small hexadecimal digits for each byte. */
void buf_hex(struct buf *b, const void *bytes, size_t len);
/* Room for len more bytes at the returned place, or NULL (and failed). The caller adds to b->len. */
void *buf_room(struct buf *b, size_t len);
/* The content with a NUL behind it that len does not count, or NULL if failed. */
const char *buf_text(struct buf *b);
/* Same bytes? */
bool buf_equal(const struct buf *b, const char *text);
/* What it holds now. */
struct span buf_span(const struct buf *b);

/* Bytes that go somewhere: a file, a buffer, an encoder before another sink.
 * put returns false when the destination failed; then the writer stops. */
struct sink {
    bool (*put)(struct sink *s, const void *bytes, size_t len);
};
struct buf_sink {
    struct sink sink;
    struct buf *buf;
};
void buf_sink(struct buf_sink *s, struct buf *b);
/* Appends what there is to its end. false: errno says why, EFBIG if it is more than b takes. */
bool buf_read(int fd, struct buf *b);
/* The same of a file. */
bool buf_read_file(const char *path, struct buf *b);

/* ---- base64.c: bytes as letters, in one run, also for passwords (pure) ---------------------------
 *
 * RFC 4648. The last two of the 64 letters make the difference between its §4 and its §5. */

#define BASE64     "+/"
#define BASE64_URL "-_"

/* Padded. */
void base64_put(struct buf *out, const void *bytes, size_t len, const char *last);
/* Appends what text says. false: there is no room, or it is not whole groups, padded only at the end and without a bit
 * left over (§3); then out has what was before that. */
bool base64_get(struct buf *out, const char *text, size_t len, const char *last);

/* ---- clock.c: the clock that nobody sets, from some point in the past on ---------------------- */

int64_t clock_ns(void);
/* Never 0. */
int64_t clock_ms(void);
/* The same in seconds. */
int64_t clock_s(void);

/* ---- log.c: lines for stderr, ready for journald ------------------------------------------------
 *
 * Text is reduced to printable ASCII here, whatever the caller passes. Field
 * values of visitors are never passed: receipts, sizes, reasons only. */

/* Name of the role, a static string, in front of every line. */
void log_role(const char *role);
void log_error(const char *fmt, ...) PRINTF(1, 2);
/* Each line as an error. */
void log_errors(const struct buf *lines);
void log_warn(const char *fmt, ...) PRINTF(1, 2);
void log_info(const char *fmt, ...) PRINTF(1, 2);
/* From here to log_release() what this thread says for information gathers, and leaves in as few writes as may be: at
 * a rate of thousands a line each costs as much as reading a form. A warning or an error takes along what waits. */
void log_hold(void);
void log_release(void);
/* A warning of what others can bring about as often as they like: one line in ten seconds for each last, which begins
 * as 0. */
void log_seldom(int64_t *last, const char *fmt, ...) PRINTF(2, 3);

/* ---- stats.c: counters in memory that all roles share ---------------------------------------- */

enum counter {
    STAT_CONNECTIONS,          /* accepted */
    STAT_CONNECTIONS_OPEN,     /* gauge */
    STAT_CONNECTIONS_CAPPED,   /* closed at once: too many, or too many of one address */
    STAT_CONNECTIONS_NO_PROXY, /* closed for lack of a trusted proxy or of its header */
    STAT_HANDSHAKES,           /* full */
    STAT_HANDSHAKES_RESUMED,
    STAT_HANDSHAKES_FAILED,
    STAT_TIMEOUTS, /* connections ended by a deadline */
    STAT_REQUESTS,
    STAT_REFUSED,          /* answered 4xx */
    STAT_COMMITTED,        /* submissions made durable, and no repeats */
    STAT_COMMIT_FAILED,    /* answered 503: the spool would not take it */
    STAT_COMMIT_FAILED_AT, /* gauge: when the last commit failed, seconds since 1970; 0: it did not */
    STAT_COMMIT_SYNCS,     /* flushes asked of the disk for commits */
    STAT_REPEATED,         /* answered with the receipt of the first: no second mail */
    STAT_ONCE_EVICTED,     /* forgotten within their window, so that a repeat would be a second mail */
    STAT_LIMITED,          /* answered 429 */
    STAT_DELIVERED,
    STAT_DELIVERY_DEFERRED, /* tries that ended in a temporary failure */
    STAT_HELD,              /* gauge: messages that need a person */
    STAT_QUEUED,            /* gauge */
    STAT_OLDEST,            /* gauge: age of the oldest queued message */
    STAT_COURIER,           /* the process that has the spool, 0 if none has; shown as 1 or 0 */
    STAT_RELOAD_FAILED_AT,  /* when a reload was refused; 0 since one was not */
    STAT_ROLE_DEATHS,
    STAT_CERTIFICATE_EXPIRES, /* gauge: seconds since 1970 */
    STAT_SEAL_EXPIRES,        /* gauge: the first S/MIME certificate that a form needs; 0: none */
    STAT_SPAM_MARKED,         /* and the next two: taken for spam, in the order of enum spam_class */
    STAT_SPAM_MARKED_TOKEN,
    STAT_SPAM_MARKED_CONTENT,
    STAT_SPAM_REFUSED, /* likewise, and not stored */
    STAT_SPAM_REFUSED_TOKEN,
    STAT_SPAM_REFUSED_CONTENT,
    STAT_COUNT
};

/* Before the first fork. false: no memory. */
bool stats_open(void);
void stats_add(enum counter s, int64_t n);
void stats_set(enum counter s, int64_t value);
int64_t stats_get(enum counter s);

/* Those that each form has for itself. */
enum form_counter { FORM_COMMITTED, FORM_REFUSED, FORM_COUNTERS };
enum { FORMS_COUNTED_MAX = 1024 }; /* beyond them only all together are counted */
/* The parent's, before a fork: the number of a form's counters, the same for the same name as long as the parent lives. 0:
 * there are none left. */
unsigned stats_form(const char *name);
void stats_form_add(unsigned form, enum form_counter c);

/* Prometheus text exposition format 0.0.4. */
void stats_write(struct buf *out);

/* ---- utf8.c: UTF-8 (RFC 3629) a character at a time (pure) ----------------------------------- */

enum { UTF8_REPLACEMENT = 0xFFFD };

enum utf8_class {
    UTF8_TEXT,
    UTF8_SPACE,   /* white space within a line, the tab included */
    UTF8_BREAK,   /* a line end: LF, CR, U+0085, U+2028, U+2029 */
    UTF8_BIDI,    /* changes the order in which its neighbours are shown */
    UTF8_CONTROL, /* any other control character, and what Unicode calls noncharacters */
};

/* Reads the character at the start of bytes, len > 0. Returns its length, 1 to 4. A byte that begins none is
 * U+FFFD and 1 long (a U+FFFD that was sent is 3 long). */
size_t utf8_next(const void *bytes, size_t len, uint32_t *c);
/* How many of the bytes, from the first on, are printable ASCII, which is most of most texts: of class UTF8_TEXT, or
 * the space. */
size_t utf8_plain(const void *bytes, size_t len);
/* Writes a character; returns its length. */
size_t utf8_bytes(uint32_t c, unsigned char out[4]);
/* The length of the longest beginning of at most max bytes that ends between two characters. */
size_t utf8_cut(const void *bytes, size_t len, size_t max);
enum utf8_class utf8_class(uint32_t c);
/* What to show for it on one line: itself, or for a control character, a tab and a line end its picture (U+2400...)
 * or U+FFFD, so that it does nothing to the reader's screen, and U+FFFD for what changes the order. */
uint32_t utf8_shown(uint32_t c);
/* The small letter of a capital one: Latin, Greek, Cyrillic, fullwidth ASCII; all else as it is. */
uint32_t utf8_fold(uint32_t c);
/* May it be part of a word: a letter, a digit, a mark on one? Scripts that do not divide words count as letters. */
bool utf8_in_word(uint32_t c);

/* ---- japanese.c: EUC-JP and ISO-2022-JP, by tables (pure) ------------------------------------ */

enum { JAPANESE_CELLS = 94 * 94 };
struct japanese { /* a character for each cell, row by row; 0: none */
    uint16_t jis0208[JAPANESE_CELLS], jis0212[JAPANESE_CELLS];
};
/* The bytes of a cell: JIS X 0208 in Shift_JIS, and either table in EUC-JP (JIS X 0212: behind 0x8F). */
void japanese_cell(size_t cell, unsigned char shift_jis[2], unsigned char euc[2]);
/* Append in as UTF-8. What means nothing becomes U+FFFD; return how often. */
long japanese_from_euc(const struct japanese *t, const unsigned char *in, size_t len, struct buf *out);
long japanese_from_2022(const struct japanese *t, const unsigned char *in, size_t len, struct buf *out);

/* ---- charset.c: what browsers send, as UTF-8 ----------------------------------------------------
 *
 * iconv loads a converter from a file, which no role may do once it is
 * narrowed: all are opened before, and shared by fork. Where a byte is a
 * character, a table does. */

void charset_open(void);
/* The encoding that a label of the WHATWG Encoding Standard stands for, by its name in the standard ("UTF-8",
 * "windows-1252"), static; NULL if we cannot convert it. Case and spaces around do not matter. UTF-8 and
 * windows-1252 are always there, the others after charset_open() where the machine has the converter. */
const char *charset_name(const char *label, size_t len);
/* Appends in as UTF-8. What means nothing in label becomes U+FFFD. Returns how often, or -1: unknown label.
 * For one thread at a time: converters have a state. */
long charset_to_utf8(const char *label, size_t label_len, const void *in, size_t len, struct buf *out);
/* Pure: is this well-formed UTF-8 (RFC 3629)? */
bool charset_is_utf8(const void *bytes, size_t len);

/* ---- form.c, urlencoded.c, multipart.c, json.c: form bodies (pure) ------------------------------
 *
 * A body is fed in pieces of any size and is either complete and exact or an
 * error. Fields keep their order, their repeats and their empty values. */

enum form_kind { FORM_URLENCODED, FORM_MULTIPART, FORM_JSON };

enum form_error {
    FORM_OK = 0,
    FORM_MALFORMED, /* 400 */
    FORM_TOO_MANY,  /* 413: fields */
    FORM_TOO_MANY_FILES,
    FORM_TOO_LARGE, /* 413: body or a name */
    FORM_NO_MEMORY, /* 503 */
};

enum {                       /* field.repaired: said in the mail, so that nobody is misled */
       REPAIRED_NUL = 1,     /* held U+0000, shown as U+2400 */
       REPAIRED_CHARSET = 2, /* was not the encoding it claimed: read as windows-1252, or has U+FFFD */
       REPAIRED_NOT = 4,     /* nothing was, but it should be where an answer goes, and is not one address */
};

struct field {
    struct buf name;     /* UTF-8 after form_end() */
    struct buf value;    /* UTF-8 after form_end(), line ends as sent; the bytes themselves for a file */
    struct buf filename; /* UTF-8, as sent, a path and control characters included: never use it as a path;
                          * of one that is too long the end, which has the extension */
    struct buf type;     /* the sender's claim, "type/subtype" in lower case, or empty */
    struct buf charset;  /* what the sender's part (FORM_MULTIPART) says its value is in, or empty */
    bool file;           /* has a filename parameter; an empty one with no content is dropped at form_end() */
    bool hidden;         /* was for the program, or is not wanted by the owner: stays out of the mail */
    bool unticked; /* a JSON false, what a script makes of a box that is not ticked: nothing was filled in */
    unsigned repaired;
    const char *label; /* what people call it, by the config; NULL: its name */
};

struct form_limits {
    size_t body;     /* bytes of the body */
    unsigned fields; /* files included */
    unsigned files;
};

struct form; /* one body being read, and its fields */

/* Reads a Content-Type value. On true, kind is set and boundary (FORM_MULTIPART) holds the unquoted boundary.
 * charset receives the charset parameter or "". Parameters after the boundary are allowed. */
bool form_content_type(const char *value, enum form_kind *kind, struct buf *boundary, struct buf *charset);
/* boundary and charset as form_content_type() gave them; both are copied, and may be NULL where there is
 * none. NULL: no memory. The caller frees with form_free(), which wipes. */
struct form *form_new(enum form_kind kind, const struct buf *boundary, const struct buf *charset,
                      const struct form_limits *limits);
/* false as soon as the body cannot become valid; the rest of it need not be fed. */
bool form_feed(struct form *f, const void *bytes, size_t len);
/* The body ends here. false unless it is complete. Converts to UTF-8. */
bool form_end(struct form *f);
void form_free(struct form *f);
enum form_error form_error(const struct form *f);
/* What was wrong, in words for the sender, without a byte of the body. Static. */
const char *form_why(const struct form *f);
size_t form_count(const struct form *f);
struct field *form_field(struct form *f, size_t index);
/* The first field of this name that is not a file, or NULL. */
struct field *form_find(struct form *f, const char *name);
/* Puts the fields of these names first, in this order; what has one name keeps its order, and so does the rest. false:
 * no memory, nothing is changed. */
bool form_order(struct form *f, char *const *names, size_t count);
/* Its label, or its name. */
struct span form_label(const struct field *field);
/* Bytes of heap that the body holds now: what the caller counts against its memory limit. */
size_t form_memory(const struct form *f);

/* For these four files alone. What returns bool has set the form's error where it returns false. */

/* A new empty field behind the others, good until the next one is added; NULL: too many, or no memory. */
struct field *form_add(struct form *f);
/* The field is an upload; false: too many. */
bool form_file(struct form *f, struct field *field);
/* Appends to a buffer of a field, or to one whose content will be a name. */
bool form_put(struct form *f, struct buf *b, const void *bytes, size_t len);
/* The first error stays. why is static. Returns false. */
bool form_fail(struct form *f, enum form_error error, const char *why);

enum { FORM_TYPE_MAX = 255, FORM_LABEL_MAX = 64 }; /* RFC 6838 §4.2; known labels are shorter */
enum form_param { PARAM_END, PARAM_READ, PARAM_MALFORMED };
/* Reads one "; name=value" (RFC 9110 §5.6.6) at *at and moves on. name points into the text; the value is
 * appended to value. escapes: in quotes a backslash stands before a byte that is meant as it is; without, the
 * quotes end at the next quote, as browsers write it (HTML, "multipart form data"). */
enum form_param form_param(const char **at, const char *end, bool escapes, const char **name,
                           size_t *name_len, struct buf *value);
/* A Content-Type value: type becomes "type/subtype" in lower case, charset and boundary the parameters or "".
 * boundary NULL: not wanted. false: it cannot be read, or the buffers do not hold it. */
bool form_media_type(const char *text, size_t len, struct buf *type, struct buf *boundary,
                     struct buf *charset);

struct urlencoded; /* URL Standard §5.1, but a "%" must be an escape */
struct urlencoded *urlencoded_new(void);
bool urlencoded_feed(struct urlencoded *u, struct form *f, const char *bytes, size_t len);
bool urlencoded_end(const struct urlencoded *u, struct form *f);
size_t urlencoded_memory(void);
void urlencoded_free(struct urlencoded *u);

struct multipart; /* RFC 7578 over RFC 2046 */
struct multipart *multipart_new(const struct buf *boundary);
bool multipart_feed(struct multipart *m, struct form *f, const char *bytes, size_t len);
bool multipart_end(const struct multipart *m, struct form *f);
size_t multipart_memory(const struct multipart *m);
void multipart_free(struct multipart *m);

struct json; /* RFC 8259: one object of strings, numbers, true, false, null, and arrays of these, which become
                repeats */
struct json *json_new(void);
bool json_feed(struct json *j, struct form *f, const char *bytes, size_t len);
bool json_end(const struct json *j, struct form *f);
size_t json_memory(const struct json *j);
void json_free(struct json *j);

/* ---- gate.c: HTTP request heads (pure) ----------------------------------------------------------
 *
 * Lets one unambiguous RFC 9112 request head through at a time, then exactly
 * its body, then looks for the next head. Whatever it lets through means the
 * same to every parser. */

enum { GATE_PARTS_MAX = 100 }; /* fields, query arguments and cookies of one head */

enum gate_state { GATE_HEAD, GATE_BODY, GATE_REFUSED };

struct gate {
    enum gate_state state;
    struct buf head; /* collected so far; grows only while a head is incomplete */
    size_t line;     /* where in head the line begins that is not complete yet */
    bool blank;      /* the one empty line that may come before a head was dropped */
    uint64_t max_body;
    uint64_t body_left; /* in GATE_BODY */
    bool passed;        /* the head in `head` has been given out and will be dropped at the next call */
    bool post;          /* of the last head: is it a POST? */
    bool last;          /* of the last head: the connection closes after it (RFC 9112 §9.3) */
    bool expects;       /* of the last head: a body comes only after a 100 (RFC 9110 §10.1.1) */
    unsigned status;    /* in GATE_REFUSED: the HTTP status to answer with before closing */
    const char *why;    /* in GATE_REFUSED: in words, static */
};

/* max_head: bytes from the method to the empty line, both included. */
void gate_init(struct gate *g, size_t max_head, uint64_t max_body);
/* Wipes; heads carry cookies and passwords. */
void gate_free(struct gate *g);
/* Takes from in as much as makes one run of output: all of a piece of a head (out_len 0), a head that became
 * complete, or a piece of a body (out points into in). Returns the bytes taken; call again for the rest.
 * 0 with len > 0 only in GATE_REFUSED. A head stays valid until the next head is fed. How the bytes are cut into
 * calls changes neither the output nor the verdict. What follows a head with `last` and its body is taken and
 * dropped (RFC 9112 §9.6). */
size_t gate_feed(struct gate *g, const void *in, size_t len, const void **out, size_t *out_len);
/* The value of the first field of this name, in lower case, in the head that was given out last, in the one that was
 * refused or in what has come of the next; empty if there is none. Lives as long as that head. */
struct span gate_field(const struct gate *g, const char *name);

/* ---- date.c: points in time as dates (pure) -----------------------------------------------------
 *
 * UTC, and the Gregorian calendar for all years. A time is in seconds since 1970, and may be before that. */

struct date {
    int64_t year;
    int month;   /* 0: January */
    int day;     /* from 1 */
    int weekday; /* 0: Sunday */
    int hour, minute, second;
};

struct date date_utc(int64_t time);
/* The way back; weekday does not count. What is no real date carries over, as the 31st of April into May. */
int64_t date_time(const struct date *d);
/* Is there such a day, and such a second of it? */
bool date_real(const struct date *d);
/* "Sat, 21 Nov 2026 23:52:16 +0000", RFC 5322 §3.3. */
void date_mail(struct buf *out, int64_t time);
/* "2026-11-21 23:52:16 UTC", for people. */
void date_plain(struct buf *out, int64_t time);
enum { DATE_SIZE = 48 }; /* of each of the following, with its NUL */
/* "2026-11-21" */
void date_day(char out[DATE_SIZE], int64_t time);
/* "2026-11-21 23:52 UTC", for people. */
void date_minute(char out[DATE_SIZE], int64_t time);
/* "2026-11-21T23:52:16Z", RFC 3339. */
void date_machine(char out[DATE_SIZE], int64_t time);
/* "Sat Nov 21 23:52:16 2026", as asctime(3). */
void date_asctime(char out[DATE_SIZE], int64_t time);

/* ---- encode.c: any bytes as short lines of ASCII (pure) -----------------------------------------
 *
 * Line ends are LF. Names and texts of headers end with a NUL. */

/* 4 less than a line may have: its first and its last byte may yet become escapes. */
enum { ENCODE_QP_TEXT = 72 };

struct encode_qp { /* quoted-printable, RFC 2045 §6.7 */
    struct sink *out;
    size_t len;
    unsigned char line[ENCODE_QP_TEXT + 2];
    bool failed; /* sticky */
};

void encode_qp_begin(struct encode_qp *q, struct sink *out);
/* Text without its line ends: a CR or LF here is encoded as a byte. No line begins with "." or "From ". */
void encode_qp_put(struct encode_qp *q, const void *bytes, size_t len);
void encode_qp_break(struct encode_qp *q);
/* Ends the last line and wipes. false: the sink failed. */
bool encode_qp_end(struct encode_qp *q);
/* RFC 2045 §6.8, in lines of 76; nothing for no bytes. false: the sink failed. */
bool encode_base64(struct sink *out, const void *bytes, size_t len);
struct encode_lines { /* the same from pieces of any length */
    struct sink sink; /* to be written to */
    struct sink *out;
    size_t len;
    unsigned char block[57 * 144]; /* whole lines */
};
void encode_lines_begin(struct encode_lines *l, struct sink *out);
/* Ends the last line and wipes. false: the sink failed. */
bool encode_lines_end(struct encode_lines *l);
/* A whole header field, folded at its spaces to 78 bytes a line; a longer word stands on a line of its own.
 * Runs of spaces become one. value holds no line end and no control character. */
void encode_header(struct buf *out, const char *name, const char *value);
/* The same for unstructured UTF-8 text: RFC 2047 where it is not plain ASCII, or could be taken for an
 * encoded-word. */
void encode_header_text(struct buf *out, const char *name, const char *text);
/* A header field with one mailbox: the person's name, UTF-8 text as above, or NULL or "" for none, and the address, ASCII
 * without a space. */
void encode_header_mailbox(struct buf *out, const char *name, const char *person, const char *address);
/* Appends `;`, a fold and a parameter to the header field that out ends with: `name="value"` if value, UTF-8,
 * is short and plain, else `name*=` or, for a long one, `name*0*=` and so on (RFC 2231). */
void encode_parameter(struct buf *out, const char *name, const char *value);
/* The same as `name="value"` for readers without RFC 2231: a "_" for each character that is not plain, at
 * most 60 of them, the last of which are the file name's extension. */
void encode_parameter_ascii(struct buf *out, const char *name, const char *value);

/* ---- upload.c: what a browser says about a file, made harmless (pure) ---------------------------
 *
 * An upload is always an attachment, whatever its type; nothing opens it. */

/* Appends a name for the file: valid UTF-8, at most FILE_NAME_MAX bytes, never empty; no path, no control or
 * bidi character, no dot in front; an extension survives the cut. */
void upload_name(const struct field *f, struct buf *out);
/* Appends the sender's claim if it is a plain "type/subtype" on which no mail program acts, so neither text
 * nor HTML, or "application/octet-stream". */
void upload_type(const struct field *f, struct buf *out);

/* ---- hash.c: SHA-256 -------------------------------------------------------------------------- */

/* As br_sha256_vtable, from Nettle: with the CPU's own instructions where it has them. A context of it fits into
 * br_hash_compat_context; the functions named br_sha256_ are not for it. */
extern const br_hash_class hash_sha256;
/* This and the next two wipe what they needed on the way. */
void hash_digest(const void *bytes, size_t len, unsigned char digest[br_sha256_SIZE]);
/* RFC 2104 */
void hash_hmac(const void *key, size_t key_len, const void *bytes, size_t len,
               unsigned char digest[br_sha256_SIZE]);
/* PBKDF2 with HMAC-SHA-256, of one block (RFC 8018 §5.2); what RFC 5802 §2.2 calls Hi(). */
void hash_pbkdf2(const char *password, const void *salt, size_t salt_len, uint64_t rounds,
                 unsigned char key[br_sha256_SIZE]);
/* Same bytes? Takes equally long wherever the first difference is. */
bool hash_same(const void *a, const void *b, size_t len);
/* The pseudorandom function of TLS 1.2 over it (RFC 5246 §5), as br_tls12_sha256_prf(). */
void hash_prf_sha256(void *bytes, size_t len, const void *secret, size_t secret_len, const char *label,
                     size_t seed_count, const br_tls_prf_seed_chunk *seed);

/* ---- token.c: proof that a form was asked for before it was sent (pure) -------------------------
 *
 * token.c says at its head what a token is and what it can and cannot show. */

#define TOKEN_FIELD       "_token" /* the fields of a form that carry the two */
#define TOKEN_PROOF_FIELD "_proof"

enum {
    SECRET_SIZE = 32,
    TOKEN_LEN = 48,
    TOKEN_RANDOM = 11,
    TOKEN_LIFE = 24 * 60 * 60, /* seconds that a token is good for */
    TOKEN_PROOF_MAX = 64,      /* bytes of a proof */
};

struct token_key {
    const unsigned char *secret; /* SECRET_SIZE, the same in all fronts */
    const char *form;
};

enum token_verdict { TOKEN_GOOD, TOKEN_NONE, TOKEN_EXPIRED, TOKEN_FORGED };

/* Letters, digits, "-" and "_". */
void token_make(char out[TOKEN_LEN + 1], const struct token_key *k, int64_t time,
                const unsigned char random[TOKEN_RANDOM]);
/* Any bytes. age: seconds since it was made; 0 unless it is good. */
enum token_verdict token_read(const struct token_key *k, const void *text, size_t len, int64_t now,
                              int64_t *age);
/* Does SHA-256 over token, ":" and proof begin with so many bits that are 0? */
bool token_proved(const void *token, size_t token_len, const void *proof, size_t proof_len, unsigned bits);
/* Finds such a proof, in about 2^bits tries. */
void token_prove(const char *token, unsigned bits, char proof[TOKEN_PROOF_MAX + 1]);

/* ---- spamlist.c: words and phrases to look for in text ------------------------------------------
 *
 * Pure but for spamlist_load(). Whole words, in any case. */

struct spamlist;

/* NULL: no memory. */
struct spamlist *spamlist_new(void);
void spamlist_free(struct spamlist *l);
/* 0 for NULL, too. */
size_t spamlist_count(const struct spamlist *l);
/* NULL, or what is wrong with it: static, "is longer than ...". */
const char *spamlist_add(struct spamlist *l, const char *text, size_t len);
/* Adds each line but empty ones and those that begin with #. false: why, "PATH:LINE: ...". */
bool spamlist_parse(struct spamlist *l, const char *path, const void *bytes, size_t len, char *why,
                    size_t why_size);
/* Of these words and the lines of a file (NULL: none). NULL: why. */
struct spamlist *spamlist_load(char *const *words, size_t count, const char *path, char *why,
                               size_t why_size);
/* Appends the words of a text: in small letters, one space between them. UTF-8. */
void spamlist_fold(const void *text, size_t len, struct buf *out);
/* Adds which entries are in such a text to found, where each stands once and max at most. */
void spamlist_find(const struct spamlist *l, const char *folded, size_t found[], size_t *count, size_t max);

/* ---- letter.c: the text of the mail (pure) --------------------------------------------------- */

enum { BODY_HTML = 1, BODY_JSON = 2, BODY_CSV = 4 }; /* an HTML alternative, fields.json, fields.csv */

struct message {
    const char *hostname;  /* Message-ID domain and "by" of the Received line */
    const char *form;      /* name of the form */
    const char *ref;       /* receipt */
    int64_t time;          /* seconds since 1970 */
    const char *from;      /* an address of the config: checked there */
    const char *from_name; /* whom mail programs say it is from, or NULL */
    char *const *to;       /* likewise */
    size_t to_count;
    const char *subject; /* template, see mime_placeholder() */
    const char
        *reply_to; /* template, NAME <ADDRESS> or ADDRESS, or NULL; no header if that is not one in ASCII */
    unsigned body; /* BODY_..., beside the text */
    const char *display;    /* lines of mime_display() to stand above the fields, or NULL */
    const char *peer;       /* the visitor's address as text, no port; or a word */
    const char *protocol;   /* "HTTPS" or, behind a proxy of ours, "HTTP" */
    const char *tls;        /* "TLS1.2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 X25519", or NULL */
    unsigned char seed[16]; /* random; boundaries are made from it */
    bool spam;              /* is taken for it */
    unsigned spam_score;    /* 0: no sign of it, */
    const char *spam_why;   /* else which signs, in ASCII and without visitor data */
    struct form *fields;
};

/* Writes the fields as quoted-printable text in the layout that the head of letter.c shows. false: the sink
 * failed. */
bool letter_write(const struct message *m, struct sink *out);
enum { LETTER_UPLOAD_SIZE = FILE_NAME_MAX + 64 };
/* Appends what the mail says in place of an upload's content: "attached, 12,345 bytes, photo.jpg". */
void letter_upload(const struct field *f, struct buf *out);
/* What the mail says of this REPAIRED_...; NULL: it was not done to this field. */
const char *letter_repair(const struct field *f, unsigned repair);

/* ---- table.c: the fields as HTML, for readers that like a table (pure) ----------------------- */

/* Writes an HTML document as quoted-printable: no script, link, image or outside resource, and nothing that was
 * typed is markup. false: the sink failed. */
bool table_write(const struct message *m, struct sink *out);

/* ---- record.c: the fields as data, for programs (pure) --------------------------------------- */

/* Writes fields.json, base64: {"form","receipt","received","fields":[{"name","label","value"} or, for an upload,
 * {"name","label","file","type","size"}]} in order, with repeats, exactly as typed; "label" where the config has one.
 * RFC 8259. false: the sink failed. */
bool record_json(const struct message *m, struct sink *out);
/* Writes fields.csv, base64: RFC 4180 in UTF-8 with a byte order mark, without which Excel takes it for another
 * encoding; a line of labels, a line of values. Fields of one name share a column, with what is not empty on lines of the cell.
 * A cell that a spreadsheet would calculate (it begins with = + - @, a tab or CR, or one of their full-width kin)
 * gets an apostrophe in front. false: the sink failed. */
bool record_csv(const struct message *m, struct sink *out);

/* ---- mime.c: a form becomes an RFC 5322 message (pure) --------------------------------------- */

/* Writes the whole message with LF line ends, every line 7-bit and at most 78 bytes; only an address or host
 * name that is longer, or an address of the config that is not ASCII (RFC 6532), stands as it is. The
 * Message-ID depends on ref, time and hostname alone. false: the sink failed, or the memory. */
bool mime_compose(const struct message *m, struct sink *out);
/* Where no answer can go because what stands in its field is not one address, notes that with the field, for its reader. */
void mime_mark_reply(const struct message *m);
/* Appends, as lines for people, the header fields that stand only inside when the message is sealed: Subject and, if
 * there is one, Reply-To. Mail programs that know S/MIME but not RFC 9788 show no others, and the text of the mail
 * then has to (a legacy display element, RFC 9788 §2.1.2). What was typed is one line of text in them. */
void mime_display(const struct message *m, struct buf *out);
enum { MIME_DISPLAY_SIZE = 2048 };
struct placeholder { /* of a template: {NAME}, {NAME|WHEN EMPTY}, {NAME:40}, {NAME:40|WHEN EMPTY} */
    char name[FIELD_NAME_MAX + 1]; /* ref: the receipt; form: its name; else the first field of that name */
    struct span fallback;          /* stands for a blank value */
    size_t limit;                  /* characters; what is longer ends in an ellipsis */
};
/* The placeholder that at begins with; returns its length with the braces. 0: it is none. */
size_t mime_placeholder(const char *at, struct placeholder *p);
/* Is this one addr-spec that may stand in a header and in an SMTP envelope? Dot-atom local part and a domain
 * (RFC 5321 §4.1.2), UTF-8 allowed in both (RFC 6531); no quoted strings, comments, spaces or control
 * characters. */
bool mime_address_ok(const char *text, size_t len);

/* ---- control.c: fields that speak to the form service and not to the owner (pure) -------------
 *
 * A control chooses among what the config allows; none leads to a recipient, a sender or a header of its own. */

enum { /* dialects, which bits in one word stand for */
       DIALECT_FORMSPREE = 1,
       DIALECT_FORMMAIL = 2,
       DIALECT_NETLIFY = 4,
       DIALECT_WEB3FORMS = 8,
};
enum { /* controls that can be honoured, likewise */
       CONTROL_NEXT = 1,
       CONTROL_SUBJECT = 2,
       CONTROL_REPLYTO = 4,
       CONTROL_LANGUAGE = 8,
       CONTROL_REQUIRED = 16,
       CONTROL_SORT = 32,
};
enum {
    CONTROL_NAMES_MAX = 64,    /* names that a list in a control may have; the rest is not looked at */
    CONTROL_SUBJECT_MAX = 200, /* a longer subject stays a field */
};

struct
    control { /* what the controls of one submission ask for; spans point into its fields and may be empty */
    struct span next, missing; /* where to go afterwards, or when a field is missing: not yet judged */
    struct span language;      /* a tag, not yet judged */
    const char *subject;       /* template of the subject, or NULL; static, as are the next two */
    struct field
        *spent; /* the field that it stands in, to be hidden once nothing is left to ask the visitor */
    const char *reply_to; /* template of an address that the form names for answers, or NULL */
    const char *email;    /* template of the field "email", if that holds an address, or NULL */
    size_t required_count;
    size_t required[CONTROL_NAMES_MAX]; /* where they begin in memory */
    struct buf memory;
};

/* The bits that stand for one word of `dialect` or of `controls`; "none" is 0. false: no such word. */
bool control_dialect(const char *word, unsigned *bit);
bool control_word(const char *word, unsigned *bit);
/* Does a dialect keep a field of this name out of the mail? */
bool control_leaves_out(const char *field, unsigned spoken);
/* Reads the controls of the dialects spoken, those of honoured alone, hides what the owner has no use for, and
 * puts the fields in the order that `sort` asks for. To be freed with control_free(). */
void control_read(struct form *fields, unsigned spoken, unsigned honoured, struct control *c);
/* The name of a field that the page wants filled in; index below c->required_count. Lives as long as c. */
const char *control_required(const struct control *c, size_t index);
void control_free(struct control *c);

/* ---- der.c: DER, read and written (pure) --------------------------------------------------------
 *
 * X.690 §10: one way to write everything, and only that way is read. A reader
 * is a cursor; its failure is sticky and passes on to the readers made from
 * it, so a sequence of calls is checked once, at its end. */

enum { /* tags, of those with a number below 31 */
       DER_BOOLEAN = 0x01,
       DER_INTEGER = 0x02,
       DER_BIT_STRING = 0x03,
       DER_OCTET_STRING = 0x04,
       DER_NULL = 0x05,
       DER_OID = 0x06,
       DER_UTF8_STRING = 0x0c,
       DER_PRINTABLE_STRING = 0x13,
       DER_IA5_STRING = 0x16,
       DER_UTC_TIME = 0x17,
       DER_GENERALIZED_TIME = 0x18,
       DER_SEQUENCE = 0x30,
       DER_SET = 0x31,
       DER_CONTEXT = 0x80,             /* + n: [n] IMPLICIT of a primitive type */
       DER_CONTEXT_CONSTRUCTED = 0xa0, /* + n: [n] EXPLICIT, or IMPLICIT of a constructed type */
};

/* OBJECT IDENTIFIERs that more than one file knows. */
#define OID_RSA               "1.2.840.113549.1.1.1"
#define OID_EC                "1.2.840.10045.2.1"
#define OID_P256              "1.2.840.10045.3.1.7"
#define OID_P384              "1.3.132.0.34"
#define OID_SHA256            "2.16.840.1.101.3.4.2.1"
#define OID_ECDSA_SHA256      "1.2.840.10045.4.3.2"
#define OID_SHA256_RSA        "1.2.840.113549.1.1.11"
#define OID_AES256_CBC        "2.16.840.1.101.3.4.1.42"
#define OID_DATA              "1.2.840.113549.1.7.1" /* of CMS */
#define OID_COMMON_NAME       "2.5.4.3"
#define OID_ORGANIZATION      "2.5.4.10"
#define OID_KEY_USAGE         "2.5.29.15"
#define OID_SUBJECT_NAMES     "2.5.29.17"
#define OID_BASIC_CONSTRAINTS "2.5.29.19"
#define OID_EXT_KEY_USAGE     "2.5.29.37"
#define OID_SERVER_AUTH       "1.3.6.1.5.5.7.3.1"
#define OID_EMAIL_USAGE       "1.3.6.1.5.5.7.3.4"

struct der { /* what is left to read; borrows the bytes */
    const unsigned char *at;
    size_t len;
    bool failed;
};

struct der der_read(const void *bytes, size_t len);
/* Read to its end without failure? */
bool der_done(const struct der *d);
/* Is an element with this tag next? */
bool der_is(const struct der *d, unsigned tag);
/* Steps over one element with this tag and returns a reader of its content. */
struct der der_next(struct der *d, unsigned tag);
/* Steps over one element, whatever it is, and returns the whole of it, tag and length included. */
struct der der_whole(struct der *d);
/* Steps over an OBJECT IDENTIFIER. Is it this one, "1.2.840.113549"? */
bool der_oid(struct der *d, const char *dotted);
/* The content of an OBJECT IDENTIFIER: is it this one? */
bool der_oid_is(const struct der *oid, const char *dotted);
bool der_boolean(struct der *d);
/* An INTEGER that is not negative: its bytes, big-endian, without leading zeros; none for 0. */
struct der der_unsigned(struct der *d);
/* Such an INTEGER below 2^31. */
unsigned der_small(struct der *d);
/* A BIT STRING of whole bytes. */
struct der der_bits(struct der *d);
/* A UTCTime or GeneralizedTime as RFC 5280 §4.1.2.5 has them; seconds since 1970. */
int64_t der_time(struct der *d);

/* Writing: into a buffer, whose failure is sticky too. */
void der_put(struct buf *b, unsigned tag, const void *content, size_t len);
void der_put_text(struct buf *b, unsigned tag, const char *text);
void der_put_null(struct buf *b);
void der_put_boolean(struct buf *b, bool value);
/* An INTEGER from the bytes of a number that is not negative, big-endian; leading zeros do not matter. */
void der_put_unsigned(struct buf *b, const void *bytes, size_t len);
void der_put_small(struct buf *b, unsigned value);
void der_put_oid(struct buf *b, const char *dotted);
/* A BIT STRING of whole bytes. */
void der_put_bits(struct buf *b, const void *bytes, size_t len);
/* UTCTime through 2049, GeneralizedTime from 2050 (RFC 5280 §4.1.2.5). */
void der_put_time(struct buf *b, int64_t time);
/* What is written between the two becomes the content of one element; they nest. */
size_t der_begin(struct buf *b, unsigned tag);
void der_end(struct buf *b, size_t begun);

/* ---- pem.c: PEM files (RFC 7468) ------------------------------------------------------------- */

enum { PEM_FILE_MAX = 4 << 20 }; /* a thousand trust anchors, with text around them */

struct pem_source { /* where bytes come from, and where to say what is wrong with them */
    const char *path;
    char *why;
    size_t why_size;
};

struct pem_block {
    char label[32]; /* "CERTIFICATE"; "" if it is longer than any we know */
    size_t at, len; /* within pem.der */
};

struct pem {
    const struct pem_source *source;
    struct buf der; /* of all blocks, one behind the other; wiped by pem_free() */
    struct pem_block *blocks;
    size_t count;
    bool binary; /* looks like DER itself */
};

/* All blocks of the file. secret: refuses a file that others than its owner may write, or that the world may
 * read. false: the source is told why, and there is nothing to free. */
bool pem_load(struct pem *p, const struct pem_source *source, bool secret);
/* The same from memory. Pure. An encrypted key is refused whatever is wanted. */
bool pem_parse(struct pem *p, const struct pem_source *source, const void *bytes, size_t len);
void pem_free(struct pem *p);
/* A reader of one block. */
struct der pem_der(const struct pem *p, size_t index);
bool pem_is(const struct pem_block *b, const char *label);
bool pem_is_key(const struct pem_block *b);
bool pem_is_cert(const struct pem_block *b);
/* Says "PATH: ..." and returns false. */
bool pem_complain(const struct pem_source *source, const char *fmt, ...) PRINTF(2, 3);
/* Says that there is no such thing in the file, and what is there instead; returns false. */
bool pem_without(const struct pem *p, const char *wanted);
/* Appends one block. */
bool pem_put(struct buf *b, const char *label, const struct buf *der);

/* ---- wipe.c: what GMP and Nettle free ----------------------------------------------------------- */

/* From the first call on it is wiped before. Any thread may call. */
void wipe_gmp(void);

/* ---- curve.c: the arithmetic of elliptic curves -------------------------------------------------
 *
 * Nettle's where its manual calls it side-channel silent, BearSSL's for the rest. Any thread may call; the first call
 * of a process compares the two (2 ms) and says so if they differ. Working memory is wiped, but for a copy of the
 * scalar that Nettle's X25519 leaves on the stack, where the handshake writes over it. When there is none left, GMP
 * ends the process. */

/* X25519 (RFC 7748) and P-256 of Nettle, P-384 and P-521 of BearSSL; muladd, for verifying, is BearSSL's. Unlike
 * BearSSL 0.6, mul refuses a product of all zeros (RFC 8422 §5.11). Static; to restrict supported_curves, copy it. */
const br_ec_impl *curve_impl(void);
enum { CURVE_NOISE = 32 }; /* bytes */
/* ECDSA with the nonce of RFC 6979, in ASN.1. hash: of hash_class. noise: CURVE_NOISE random bytes, with which each
 * signature is another (§3.6); NULL: the bytes of br_ecdsa_i31_sign_asn1(). Other curves than P-256 make no use of it,
 * but are signed with twice and compared. signature: at least SIGNATURE_MAX. Returns its length; 0: not a private key,
 * or the two differ, which is logged. */
size_t curve_sign(const br_hash_class *hash_class, const void *hash, const br_ec_private_key *key,
                  const unsigned char *noise, unsigned char *signature);

/* ---- rsa.c: the operations of RSA --------------------------------------------------------------- */

enum { RSA_MAX = 512 }; /* bytes: RSA-4096 */

/* RFC 8017 §5.1.1, in place: x is a padded message of as many bytes as the modulus, whose first byte is 0 as all
 * paddings have it. false, and x as it was: another length, or a key that is none (an even modulus, an exponent above
 * 64 bits, more than RSA_MAX). */
bool rsa_public(unsigned char *x, size_t len, const br_rsa_public_key *key);
/* RSASSA-PKCS1-v1_5 (RFC 8017 §8.2.1), the same bytes as br_rsa_i62_pkcs1_sign(), which stands in where Nettle cannot.
 * oid: BR_HASH_OID_*. signature: at least SIGNATURE_MAX. Returns its length, after verifying it with the public key;
 * 0: the two are not the halves of one key, or the computation went wrong, and signature is all zeros. Any thread may
 * call; blinding values are from getrandom(2) each time, without which the process aborts, as GMP does without
 * memory. */
size_t rsa_sign(const unsigned char *oid, const unsigned char *hash, size_t hash_len,
                const br_rsa_public_key *public, const br_rsa_private_key *private, unsigned char *signature);

/* ---- x509.c: certificates and private keys in files ---------------------------------------------
 *
 * PEM in files, DER inside. The *_parse functions are pure. */

struct key {  /* a private key, in the memory of the one role that uses it */
    int type; /* BR_KEYTYPE_RSA or BR_KEYTYPE_EC, 0: none */
    br_rsa_private_key rsa;
    br_rsa_public_key rsa_public; /* as the file has it */
    br_ec_private_key ec;
    struct buf memory; /* what the three point into; wiped by x509_key_free() */
};

enum { /* tags of a GeneralName (RFC 5280 §4.2.1.6) */
       GENERAL_NAME_MAIL = DER_CONTEXT + 1,
       GENERAL_NAME_DNS = DER_CONTEXT + 2,
       GENERAL_NAME_IP = DER_CONTEXT + 7,
};

struct cert {                                 /* one certificate, read; everything points into its DER */
    struct der serial, issuer, subject, spki; /* whole elements, tag and length included */
    struct der names;                         /* GeneralNames of the SubjectAltName, empty if there is none */
    int64_t not_before, not_after;
    int issuer_key_type;       /* of the signature on it; 0: neither RSA nor ECDSA */
    const char *bad_signature; /* its algorithm, if it is none that is accepted, in words, static; or NULL */
    br_x509_pkey key;          /* key_type 0: neither RSA nor P-256 or P-384 */
    unsigned key_bits;         /* modulus or field size */
    unsigned usage; /* KeyUsage (RFC 5280 §4.2.1.3) from bit 15 down; all bits if it does not say */
    bool for_servers, for_mail; /* ExtendedKeyUsage allows that, or anything, or does not say */
    bool ca;                    /* BasicConstraints */
    bool constraints;           /* NameConstraints */
};

struct chain { /* a certificate chain, leaf first: public */
    br_x509_certificate *certs;
    size_t count;
    int key_type;        /* of the leaf */
    unsigned key_bits;   /* modulus or field size of the leaf */
    int issuer_key_type; /* of the signature on the leaf; 0: neither RSA nor ECDSA */
    int64_t not_before, not_after;
    unsigned char spki_sha256[32]; /* of the leaf's SubjectPublicKeyInfo */
    struct buf names;              /* DNS names of the leaf's SubjectAltName, one a line */
    struct buf memory;
};

/* RFC 5280 §4.1. false: not a certificate. Signatures are not checked. */
bool x509_read(struct cert *c, const void *bytes, size_t len);

/* Each returns false with why = what is wrong with which file and what would be right; then there is nothing
 * to free. The leaf has an RSA key of 2048 to 4096 bits or one on P-256 or P-384; its dates are the caller's
 * to judge. */
bool x509_chain_load(struct chain *c, const char *path, char *why, size_t why_size);
bool x509_chain_parse(struct chain *c, const char *path, const void *bytes, size_t len, char *why,
                      size_t why_size);
void x509_chain_free(struct chain *c);
/* Refuses a file that others than its owner may write, or that the world may read. The same keys as above. */
bool x509_key_load(struct key *k, const char *path, char *why, size_t why_size);
bool x509_key_parse(struct key *k, const char *path, const void *bytes, size_t len, char *why,
                    size_t why_size);
void x509_key_free(struct key *k);
/* Is k the private half of the leaf's public key? Signs with the one and verifies with the other. */
bool x509_match(const struct chain *c, const struct key *k);
/* Does the leaf name this host (RFC 6125 §6.4.3, one wildcard as the whole leftmost label, two labels behind
 * it)? */
bool x509_names_host(const struct chain *c, const char *host);
/* Appends those DNS names among GeneralNames that could be a host's, one a line, so that none can look like two. false:
 * damaged, or no room. */
bool x509_list_names(struct der names, struct buf *out);
/* A host name as a certificate may carry it, "*." in front included? */
bool x509_is_name(const char *name, size_t len);

/* ---- algid.c: AlgorithmIdentifiers, RFC 5280 §4.1.1.2 (pure) --------------------------------- */

/* Without parameters; with a NULL; with an OID, such as a curve; with an OCTET STRING, such as an IV. */
void algid_put(struct buf *b, const char *oid);
void algid_put_null(struct buf *b, const char *oid);
void algid_put_oid(struct buf *b, const char *oid, const char *parameter);
void algid_put_bytes(struct buf *b, const char *oid, const void *parameter, size_t len);

/* ---- cmskey.c: a content key for one recipient of CMS (pure) --------------------------------- */

enum { CMS_KEY_SIZE = 32, CMS_WRAPPED_SIZE = CMS_KEY_SIZE + 8 }; /* AES-256, and RFC 3394 around it */

struct cmskey {
    const unsigned char *cek;  /* CMS_KEY_SIZE */
    bool modern;               /* RSA with OAEP in place of PKCS #1 v1.5 */
    const br_prng_class **rng; /* seeded by the caller, as are all that follow */
};

/* Appends the RecipientInfo (RFC 5652 §6.2) for a certificate with an RSA key of 2048 to 4096 bits, or one on P-256
 * or P-384 (RFC 5753). false: another key, one that is no key of its kind, or no room in b. */
bool cmskey_put(struct buf *b, const struct cmskey *k, const struct cert *to);
/* Appends IssuerAndSerialNumber, by which CMS names a certificate. */
void cmskey_put_name(struct buf *b, const struct cert *c);
/* AES key wrap, RFC 3394 §2.2.1. */
void cmskey_wrap(unsigned char out[CMS_WRAPPED_SIZE], const unsigned char kek[CMS_KEY_SIZE],
                 const unsigned char cek[CMS_KEY_SIZE]);
/* The fastest AES-CBC encryption of this CPU. */
const br_block_cbcenc_class *cmskey_aes_cbc(void);

/* ---- cms.c: envelopes and signatures, RFC 5652 (pure) -------------------------------------------
 *
 * An envelope is a sink for clear bytes that writes BER to another sink as it
 * goes; it holds one chunk. What it has written tells nothing but its length
 * and the recipients' issuers and serial numbers. */

enum cms_profile {
    CMS_COMPATIBLE, /* AES-256-CBC, RSA PKCS #1 v1.5: every program opens it with an RSA key. Sign inside */
    CMS_MODERN,     /* AES-256-GCM (RFC 5083, 5084), RSA-OAEP with SHA-256 */
};

enum {
    CMS_CHUNK = 8192,   /* whole blocks; its length takes two bytes */
    CMS_CHUNK_HEAD = 4, /* tag and length before it */
    CMS_RECIPIENTS_MAX = 32,
};

struct cms_recipients {
    const struct cert *certs[CMS_RECIPIENTS_MAX];
    size_t count;
};

struct cms_envelope {
    struct sink sink; /* takes the clear content */
    struct sink *out;
    bool gcm;
    bool failed; /* sticky */
    union {
        br_aes_gen_cbcenc_keys cbc;
        br_aes_gen_ctr_keys ctr;
    } key;
    br_gcm_context tag; /* of GCM, as far as the content has come */
    unsigned char iv[16];
    size_t len; /* of the content in chunk */
    unsigned char chunk[CMS_CHUNK_HEAD + CMS_CHUNK];
};

/* Makes a new key and writes what stands before the content. The certificates must have been judged, see
 * mailcert_choose(). false: nobody to encrypt for, a certificate with a key of another kind, no memory, or out failed.
 * From here on e holds secrets: cms_envelope_end() wipes it, or its owner does. */
bool cms_envelope_begin(struct cms_envelope *e, enum cms_profile profile, const struct cms_recipients *to,
                        const br_prng_class **rng, struct sink *out);
/* Writes the end, and wipes whatever happened. false: what was written is no envelope. */
bool cms_envelope_end(struct cms_envelope *e);

struct cms_signer {
    const struct chain *chain; /* the leaf's key signs; all of it goes into the signature */
    /* As signer_sign(): the digest in data, of hash (BearSSL's id), is replaced by a signature of at most len bytes,
     * PKCS #1 v1.5 or ECDSA in DER. Returns its length, 0: none. */
    size_t (*sign)(void *ctx, unsigned hash, unsigned char *data, size_t hash_len, size_t len);
    void *ctx;
};

/* Appends a detached signature, a ContentInfo in DER, of content with this SHA-256. time: as the signer claims. */
bool cms_sign(const struct cms_signer *s, const unsigned char digest[br_sha256_SIZE], int64_t time,
              struct buf *out);

/* What is written between the two becomes the values of one Attribute (RFC 5652 §5.3). */
size_t cms_attribute_begin(struct buf *b, const char *oid, size_t *values);
void cms_attribute_end(struct buf *b, size_t attribute, size_t values);

/* ---- mailcert.c: certificates of mail addresses (RFC 8550) --------------------------------------
 *
 * Pure but for mailcert_load(). What says why says it in one sentence: which
 * certificate of which file, what is wrong, and what would be right. */

struct mailcert {
    struct mailcert *next;
    const char *path; /* of its file; the caller's, who keeps it */
    size_t number;    /* in the file, from 1 */
    struct cert cert;
    struct buf der; /* what cert points into */
};

enum mailcert_use { MAILCERT_ENCRYPT, MAILCERT_SIGN };

/* Appends the certificates of a PEM file to *list (NULL: a new one). A file with a private key is refused. false:
 * *list is as it was. */
bool mailcert_load(struct mailcert **list, const char *path, char *why, size_t why_size);
bool mailcert_parse(struct mailcert **list, const char *path, const void *bytes, size_t len, char *why,
                    size_t why_size);
void mailcert_free(struct mailcert *list);
/* Has it this address as an rfc822Name or as the subject's emailAddress? Case does not matter. */
bool mailcert_names(const struct mailcert *m, const char *address);
/* Is its key of a kind we use, and allowed to do this for mail? What time does not change. */
bool mailcert_able(const struct mailcert *m, enum mailcert_use use, char *why, size_t why_size);
bool mailcert_in_date(const struct mailcert *m, int64_t now, char *why, size_t why_size);
/* Whom to encrypt for, so that all of `to` can read the mail and nobody else. Each address needs a certificate that is
 * in date; where it has several, those that are not are left out (the old and the new one may stand side by side). A
 * certificate that is not able, or for none of the addresses, fails the whole. On false, out is empty. */
bool mailcert_choose(const struct mailcert *list, char *const *to, size_t to_count, int64_t now,
                     struct cms_recipients *out, char *why, size_t why_size);
/* The last second in which mailcert_choose() finds one for each of `to`, if no earlier one is missing. */
int64_t mailcert_expiry(const struct mailcert *list, char *const *to, size_t to_count);
/* Appends what each certificate is good for, for people. false: none of them is good to encrypt for now. */
bool mailcert_describe(const struct mailcert *list, int64_t now, struct buf *out);

/* ---- smime.c: a message inside S/MIME, RFC 8551 (pure) ------------------------------------------
 *
 * A sink between mime_compose() and whatever takes the mail: a message with LF
 * line ends in, another out. Out come the fields that a mail host needs, a
 * neutral subject, and base64 of an envelope that has all the rest: the whole
 * message with all its fields (RFC 9788), within a signature if there is a
 * signer. Nothing else reaches out, whatever fails. Lines of the body are 76
 * bytes; memory is some 25 kB whatever the message's size. */

struct smime_job {
    enum cms_profile profile;
    struct cms_recipients to;        /* from mailcert_choose(), for this message */
    const struct cms_signer *signer; /* NULL: not signed */
    const char *subject;             /* outside: form and receipt */
    int64_t time;                    /* of the signature */
    const br_prng_class **rng;       /* seeded for this message */
};

struct smime;
/* NULL: no memory. What job points to lives on until smime_free(). */
struct smime *smime_new(const struct smime_job *job, struct sink *out);
/* For the message. Its header block must be complete and have one Content-Type. */
struct sink *smime_sink(struct smime *s);
/* The message is complete: signs, and writes the end. Called once. false: something failed, here or before, and what
 * was written must not be used. */
bool smime_end(struct smime *s);
/* Wipes; NULL is allowed. */
void smime_free(struct smime *s);

/* ---- pkcs12.c: a key and its certificate in one file with a password (pure) ------------------ */

struct pkcs12 {
    const unsigned char *key, *cert; /* DER: PKCS #8, X.509 */
    size_t key_len, cert_len;
    const char *name;     /* what programs show for it: ASCII */
    const char *password; /* ASCII, 1 to 127 characters: readers disagree about all others */
};

/* Appends a PFX (RFC 7292) with AES-256-CBC and HMAC-SHA-256, as OpenSSL 3 and NSS write it too. false: the password or
 * the name is not as above, or no room. */
bool pkcs12_put(struct buf *out, const struct pkcs12 *p, const br_prng_class **rng);

/* ---- x509_self.c: a key and a certificate of our own making (pure) --------------------------- */

enum { X509_SERIAL = 16 }; /* bytes, RFC 5280 §4.1.2.2: at most 20 */

struct x509_self {
    const char *name;        /* of the subject, */
    const char *short_name;  /* and what stands there if that has more than 64 characters */
    const struct buf *names; /* of the SubjectAltName: GeneralNames, one behind the other */
    const char *usage; /* KeyUsage (RFC 5280 §4.2.1.3) as two bytes: how many bits are unused, and the bits */
    const char *purpose;         /* the OID in ExtendedKeyUsage */
    const unsigned char *serial; /* X509_SERIAL random bytes */
    bool key_id;                 /* with a SubjectKeyIdentifier */
    int64_t now;
    unsigned days; /* that it is valid for */
    bool ec;       /* P-256, else RSA with 3072 bits */
    const br_prng_class **rng;
};

/* Appends a self-signed certificate (RFC 5280), which is no CA's, and its new key as PKCS #8, both DER. Takes about a
 * second for RSA. false: no room. */
bool x509_self_make(const struct x509_self *s, struct buf *cert, struct buf *key);
/* One of a host, on P-256, for these DNS names and 127.0.0.1/::1, valid for days from now, both PEM. random: 64 bytes.
 * false: no name, a name that is no host name, or no room. */
bool x509_self_signed(const char *const *names, size_t count, int64_t now, unsigned days,
                      const unsigned char *random, struct buf *cert_pem, struct buf *key_pem);

/* ---- mailself.c: a mail certificate for one who has none (pure) ------------------------------ */

struct mailself {
    const char *address;  /* an address by mime_address_ok(), in ASCII */
    const char *password; /* for pkcs12_put() */
    int64_t now;
    unsigned days; /* that it is valid for */
    bool ec;       /* P-256, else RSA with 3072 bits, which every mail program decrypts with */
    const br_prng_class **rng;
};

/* A self-signed certificate (RFC 5280, RFC 8550) for the server, PEM, and with its key as PKCS #12 for the mail program;
 * the key is nowhere else. Takes about a second for RSA. false: address or password will not do, or no room. */
bool mailself_make(const struct mailself *m, struct buf *cert_pem, struct buf *p12);

/* ---- fieldtype.c: what may be typed into a field of each type (pure) ------------------------- */

enum field_type {
    FIELD_ANY, /* text or a file */
    FIELD_TEXT,
    FIELD_EMAIL,
    FIELD_NUMBER,
    FIELD_INTEGER,
    FIELD_DATE,
    FIELD_TIME,
    FIELD_URL,
    FIELD_TEL,
    FIELD_CHOICE,
    FIELD_FILE,
    FIELD_TYPES
};
enum {
    FIELD_LIMIT_SIZE = 48,   /* a number, date or time and its NUL */
    FIELD_DAYS_MAX = 100000, /* of "today+30" */
};

/* FIELD_TYPES: there is none of this name. */
enum field_type fieldtype_named(const char *name);
const char *fieldtype_name(enum field_type type);
/* Has it a first and a last: numbers, dates and times. */
bool fieldtype_ordered(enum field_type type);
/* Is text, but for blanks around it, one of its type? Any text is for those types that do not say. A number is
 * "-12.5" or "12,5", a date "2026-11-30" or "30.11.2026", a time "14:30" or "14:30:59". */
bool fieldtype_ok(enum field_type type, struct span text);
/* Would an HTML input of this type keep text as its value? One that would not shows nothing in its place. */
bool fieldtype_html(enum field_type type, struct span text);
/* Of an ordered type, both ok: less than, equal to or greater than 0 as a comes before, with or after b. */
int fieldtype_compare(enum field_type type, struct span a, struct span b);
/* A limit as the config has it, as one that is ok: for a date also "today", "today+30" or "today-1", in UTC. false: it
 * is none. now: seconds since 1970. */
bool fieldtype_limit(enum field_type type, const char *text, int64_t now, char out[FIELD_LIMIT_SIZE]);

/* ---- pattern.c: a regular expression that a whole value must fit ----------------------------- */

enum { PATTERN_VALUE_MAX = 500 }; /* characters of a value; a longer one fits none */

struct pattern; /* for the values of one form, see the head of pattern.c */
/* POSIX ERE. The first call reads the locale of UTF-8 from a file, so let it be before the sandbox. NULL: why. */
struct pattern *pattern_new(const char *text, char *why, size_t why_size);
void pattern_free(struct pattern *p);
bool pattern_fits(const struct pattern *p, struct span value);

/* ---- network.c: addresses of hosts, and networks of them (pure) ------------------------------
 *
 * An IPv6 address that stands for an IPv4 one (::ffff:192.0.2.1) becomes that one everywhere here. */

struct network { /* the first bits of the address of each host in it */
    sa_family_t family;
    unsigned bits;
    unsigned char bytes[16];
};

/* An address from 4 or 16 bytes in network order; its port is 0. */
void network_ip4(struct sockaddr_storage *out, const void *bytes);
void network_ip6(struct sockaddr_storage *out, const void *bytes);
/* "192.0.2.1" or "2001:db8::1" and nothing else. false: out has the family AF_UNSPEC. */
bool network_address(struct sockaddr_storage *out, const char *text, size_t len);
/* The other way: out takes INET6_ADDRSTRLEN bytes. false: it is no address of the Internet. */
bool network_text(const struct sockaddr_storage *a, char out[INET6_ADDRSTRLEN]);
/* 0: it has none. */
uint16_t network_port(const struct sockaddr_storage *a);
/* And not a unix socket, or nobody's? */
bool network_is_internet(const struct sockaddr_storage *a);
/* 127.0.0.0/8 or ::1 */
bool network_is_loopback(const struct sockaddr_storage *a);
/* What counts as one host, or one visitor: an IPv4 address, or the /64 that an IPv6 host owns (RFC 6177). 0: no address
 * of the Internet. */
uint64_t network_id(const struct sockaddr_storage *a);
/* The same host? Ports do not matter. */
bool network_same(const struct sockaddr_storage *a, const struct sockaddr_storage *b);
/* "192.0.2.1", "192.0.2.0/24", "2001:db8::/32": no bit set behind the number. */
bool network_read(struct network *n, const char *text);
/* Is it in one of these? What is no address of the Internet never is. */
bool network_has(const struct network *list, size_t count, const struct sockaddr_storage *a);
/* For counts by visitor in little memory: the number of the one that id falls into. With a random key nobody can choose
 * addresses that fall together with another's. */
enum { NETWORK_BUCKETS = 256 };
unsigned network_bucket(uint64_t key, uint64_t id);

/* ---- passwd.c: passwords as yescrypt hashes (crypt(5)) --------------------------------------- */

enum { PASSWD_NEW_SIZE = 24 };   /* 20 letters in groups of five, and a NUL */
enum { PASSWD_HASH_SIZE = 192 }; /* a yescrypt hash and its NUL, with room */

/* A password that can be read out and typed. false: no randomness. */
bool passwd_new(char out[PASSWD_NEW_SIZE]);
/* random: 16 bytes. false: no memory. */
bool passwd_hash(const char *password, const unsigned char *random, char out[PASSWD_HASH_SIZE]);
/* Takes equally long whatever the password: some ten milliseconds and 16 MB. Also false: no memory. */
bool passwd_matches(const char *hash, const char *password);
/* A yescrypt hash, as passwd_hash() makes it? Pure. */
bool passwd_is_hash(const char *text);
/* `formbridge passwd`: reads a password, twice from a terminal and one line from anything else, prints its hash.
 * Returns an exit code. */
int passwd_run(void);

/* ---- value.c: what the text of one config value means (pure) --------------------------------- */

enum endpoint_kind { /* what is spoken at an address of `listen` in [bridge] */
                     ENDPOINT_TLS,
                     ENDPOINT_PROXY, /* a PROXY header, then TLS */
                     ENDPOINT_PLAIN, /* HTTP, on this machine alone */
};

struct endpoint { /* something to listen on or to connect to */
    struct sockaddr_storage addr;
    socklen_t addr_len;
    enum endpoint_kind kind;
    char text[ADDRESS_TEXT]; /* as written in the config, for messages */
};

/* Each returns whether the text is one of its kind. Texts end with a NUL. */

/* Name of a [form] or [mailhost]: 1 to FORM_NAME_MAX of a-z 0-9 _ - */
bool value_name(const char *text);
/* "65536", "512k", "10M", "1G" in bytes; a k is 1024. */
bool value_size(const char *text, uint64_t *bytes);
/* "30", "30s", "5m", "2h", "5d" */
bool value_seconds(const char *text, uint64_t *seconds);
struct rate {       /* so many at once, and afterwards so many evenly over the time */
    uint32_t count; /* 0: as many as come */
    uint32_t seconds;
};
/* "60/5m", "1/1d"; "0" or "off". At most 1000000, over a second to a day. */
bool value_rate(const char *text, struct rate *rate);
/* A host name (RFC 1123 §2.1), not an address, no final dot. */
bool value_host(const char *text);
/* "192.0.2.1:443" or "[2001:db8::1]:443": digits only, never looked up. */
bool value_endpoint(const char *text, struct endpoint *e);
/* "/path" as the name of a unix socket, which shows in messages as "unix:/path". */
bool value_socket(const char *path, struct endpoint *e);
/* One of `listen` in [bridge]: an address as value_endpoint() has it, "proxy:" before one, "plain:" before one of
 * loopback, or "unix:/path". NULL, or what is wrong with it, static. */
const char *value_listen(const char *text, struct endpoint *e);
/* "0660": the rights to a socket, in octal. */
bool value_mode(const char *text, unsigned *mode);
/* "HOST", "HOST:PORT", "192.0.2.1:PORT" or "[2001:db8::1]:PORT": ends the host in place and returns where it
 * starts, or NULL. port: 0 if none was given. */
char *value_server(char *text, uint16_t *port);
/* "https://host[:port]" as browsers send it (RFC 6454 §6.2): lower-cased, a default port and a final slash
 * removed. */
bool value_origin(char *text);
/* An absolute https URL (http only for this machine) without user information. */
bool value_url(const char *text);
/* Braces in pairs around a placeholder each: "Order {ref} from {name:40|somebody}". */
bool value_template(const char *text);
/* A folder of a Maildir++, ".Junk" or ".Mail.Junk", in printable ASCII. */
bool value_folder(const char *text);
/* A SHA-256 as 64 hex digits or as base64, "sha256:" may stand in front. */
bool value_pin(const char *text, unsigned char pin[32]);

/* ---- words.c, words_en.c, words_de.c, words_fr.c, words_es.c: every sentence on a page (pure) ------
 *
 * A language is a file with all its sentences and a row in words.c. */

enum language {
    LANGUAGE_EN,
    LANGUAGE_DE,
    LANGUAGE_FR,
    LANGUAGE_ES,
    LANGUAGES,
    LANGUAGE_AUTO = LANGUAGES, /* none is named: ask the next source. Never to be given to words() */
};

enum word {
    W_COLON, /* between a label and what is said of it */
    W_UNNAMED,
    W_REQUIRED,
    W_FILL_IN,
    W_CHOOSE_FILE,
    W_CHOOSE_ONE,
    W_NOT_TEXT,
    W_NOT_EMAIL,
    W_NOT_NUMBER,
    W_NOT_INTEGER,
    W_NOT_DATE,
    W_NOT_TIME,
    W_NOT_URL,
    W_NOT_TEL,
    W_NOT_CHOICE,
    W_NOT_PATTERN,
    W_TOO_SHORT,
    W_TOO_LONG,
    W_TOO_LOW,
    W_TOO_HIGH,
    W_TOO_EARLY,
    W_TOO_LATE,
    W_TOO_MANY_FILES,
    W_WRONG_KIND,
    W_BACK,
    W_SEND,
    W_RECEIVED,
    W_RECEIVED_LEAD,
    W_RECEIPT,
    W_KEEP,
    W_RECEIVED_AT,
    W_INVALID,
    W_INVALID_LEAD,
    W_INVALID_LOST,
    W_INVALID_LIST,
    W_FILE_AGAIN,
    W_FILE_WAS,
    W_FILE_HINT,
    W_SENDING,
    W_FAILED,
    W_ERROR,
    W_NOTHING_STORED,
    W_FORM_BUSY, /* 429, for form_rate */
    W_BY_GET,    /* 405, for a form without method="post" */
    W_BY_GET_ADVICE,
    W_SPAM,
    W_SPAM_LEAD,
    W_SPAM_LIST,
    W_SPAM_ROBOT,
    W_SPAM_LINKS,
    W_SPAM_TEXT,
    W_ABOUT,
    W_ABOUT_LEAD,
    W_ABOUT_DATA,
    W_ABOUT_FORM,
    W_ABOUT_FORM_LEAD,
    W_ABOUT_FORM_OWNER,
    W_DEMO,
    W_DEMO_KICKER,
    W_DEMO_LEAD,
    W_DEMO_NAME,
    W_DEMO_EMAIL,
    W_DEMO_EMAIL_HINT,
    W_DEMO_ITEM,
    W_DEMO_ITEM_1,
    W_DEMO_ITEM_2,
    W_DEMO_ITEM_3,
    W_DEMO_ITEM_4,
    W_DEMO_CHOOSE,
    W_DEMO_QUANTITY,
    W_DEMO_MESSAGE,
    W_DEMO_PHOTO,
    W_DEMO_PHOTO_HINT,
    W_DEMO_CONSENT,
    W_DEMO_SEND,
    WORDS_COUNT
};

enum { REFUSALS = 11 }; /* statuses with words of their own */

struct refusal { /* what an HTTP status means to a person, and what to do now */
    unsigned status;
    const char *title;
    const char *what;
    const char *advice;
};

struct words_language {
    const char *tag; /* BCP 47, for lang and Content-Language */
    const char *dir; /* "ltr" or "rtl" */
    const char *texts[WORDS_COUNT];
    struct refusal refusals[REFUSALS]; /* the same statuses in every language, ascending */
};
extern const struct words_language words_en, words_de, words_fr, words_es;

/* Plain text, static, to be escaped when written. {} in it is where an argument goes. */
const char *words(enum language language, enum word id);
const char *words_tag(enum language language);
const char *words_dir(enum language language);
/* Static; for a status without an entry the general one of its class. */
const struct refusal *words_refusal(enum language language, unsigned status);
/* The language of a tag such as "de" or "fr-CA"; LANGUAGE_AUTO: none of ours. */
enum language words_language(const char *tag, size_t len);
/* What an Accept-Language value (RFC 9110 §12.5.4) likes best of what we have; LANGUAGE_AUTO: nothing. */
enum language words_accept(const char *header, size_t len);

/* ---- rules.c: a form held against its rules (pure) ------------------------------------------- */

struct rule;
struct form_conf;

struct rules_error {     /* one thing to mend in a form */
    const char *field;   /* name as sent; NULL: the form as a whole */
    const char *code;    /* for JSON: "REQUIRED_FIELD_MISSING", ... */
    const char *message; /* for people: a whole sentence */
};

enum {
    RULES_ERRORS_MAX = 64,
    RULES_TEXTS = 16384
}; /* what one answer lists; bytes of its sentences with gaps */

struct rules_report {
    struct rules_error errors[RULES_ERRORS_MAX];
    size_t count;
    size_t used;
    char texts[RULES_TEXTS]; /* sentences that were put together */
};
/* The rule for fields of this name, or NULL. */
const struct rule *rules_find(const struct form_conf *f, struct span name);
/* Is this, typed into a field of the rule, right? Else out has what is wrong, in English. */
bool rules_value(const struct rule *rule, struct span value, int64_t now, struct rules_report *out);
/* Fills out with the first thing that is wrong with each field; count 0: nothing is. Names and sentences live as long
 * as f and out. now: seconds since 1970. */
void rules_check(const struct form_conf *f, struct form *typed, enum language language, int64_t now,
                 struct rules_report *out);
/* One more. field, code and text outlive out; arg, NULL for none, goes in place of the {} of text. */
void rules_add(struct rules_report *out, const char *field, const char *code, const char *text,
               const char *arg);
/* Is there a field of this name with something in it but blanks? */
bool rules_filled(struct form *f, const char *name);
/* Has it nothing at all for a mail to show, but for the one field that is spent (NULL: none)? */
bool rules_blank(struct form *f, const struct field *spent);
/* Gives the fields their labels, hides those that the config leaves out of the mail, and puts them in its order.
 * false: no memory. */
bool rules_dress(const struct form_conf *f, struct form *typed);

/* ---- redirect.c: where a form may send the visitor afterwards (pure) -------------------------- */

enum {
    REDIRECT_MAX = 2000, /* a longer target is refused */
    REDIRECT_URL_MAX =
        8192, /* what to give buf_init() for its URL: each byte may become three, behind an origin */
};

/* Reads what a form names as target: an absolute https address (http: this machine only), or a path that begins
 * with one slash, on site ("https://host[:port]" as value_origin() leaves it; NULL: there is none). Writes it as an
 * absolute URL in one form that is safe in a header. NULL, or why it is refused, and out is worth nothing. */
const char *redirect_read(const char *text, size_t len, const char *site, struct buf *out);
/* Is url, from redirect_read(), below one of these, from redirect_prefix() or value_origin()? */
bool redirect_allowed(const char *url, char *const *allowed, size_t count);
/* The same for an origin or a prefix of the config: no query, no fragment. */
bool redirect_prefix(const char *text, struct buf *out);

/* ---- html.c: text becomes HTML (pure) -------------------------------------------------------- */

/* UTF-8 as HTML, for content and for quoted attribute values alike. Control characters become visible
 * (U+2400...; C1: U+FFFD), CRLF and CR become LF. At most five bytes for one. */
void html_text(struct buf *out, struct span text);
/* The same for a string. */
void html_str(struct buf *out, const char *text);
/* text with arg in place of its {}, both escaped. */
void html_sentence(struct buf *out, const char *text, struct span arg);
/* <p class="class">text</p>. class: of ours, or NULL. */
void html_paragraph(struct buf *out, const char *class, const char *text);
/* ` name="value"`. */
void html_attribute(struct buf *out, const char *name, struct span value);

/* ---- frame.c: what every page of ours begins and ends with, and how it looks (pure) ---------- */

struct form_conf;
struct page_style { /* how a page is to be written */
    enum language language;
    const struct form_conf *form; /* NULL: of no form */
    const char *token;            /* a new one for the form on the page, or NULL */
};

/* The style sheet, as it stands between <style> and </style>. Static. */
const char *frame_style(size_t *len);
/* Appends 'sha256-…' of these bytes, as a Content-Security-Policy names a style sheet. */
void frame_hash(struct buf *out, const void *bytes, size_t len);
enum frame_mark { MARK_NONE, MARK_DONE, MARK_STOP };
/* Up to the heading. kicker, the small line above it, may be empty. */
void frame_open(struct buf *out, const struct page_style *s, enum frame_mark mark, struct span kicker,
                struct span heading);
void frame_close(struct buf *out);
/* "Back to www.example.com", escaped, for a form that names its site. */
void frame_back(struct buf *out, const struct page_style *s);
/* The same as a link, where the config knows the site. */
void frame_way_back(struct buf *out, const struct page_style *s);

/* ---- template.c: the owner's own HTML for our pages (pure) ----------------------------------- */

enum { TEMPLATE_MAX = 64 * 1024 }; /* bytes of a file */

enum template_kind { TEMPLATE_RECEIPT, TEMPLATE_ERROR, TEMPLATE_INVALID, TEMPLATES };
extern const char *const template_names[TEMPLATES]; /* of their files */

enum template_place { /* formbridge.ini(5) says what they stand for */
                      PLACE_LANG,
                      PLACE_DIR,
                      PLACE_STYLE,
                      PLACE_FORM,
                      PLACE_TITLE,
                      PLACE_MESSAGE,
                      PLACE_SITE,
                      PLACE_BACK,
                      PLACE_RECEIPT,
                      PLACE_TIME,
                      PLACE_KEEP,
                      PLACE_STATUS,
                      PLACE_STORED,
                      PLACE_ADVICE,
                      PLACE_ERRORS,
                      PLACE_FIELDS,
                      PLACES
};

struct template;
/* Copies the bytes. origins: those of the form, as for conf. Every mistake is appended to errors as a line
 * "name:LINE: what is wrong and what would be right". NULL if there was one. */
struct template *template_parse(enum template_kind kind, const char *name, const void *bytes, size_t len,
                                char *const *origins, size_t origin_count, struct buf *errors);
void template_free(struct template *t);
/* The Content-Security-Policy for it. Lives as long as t. */
const char *template_policy(const struct template *t);
/* put writes what a placeholder stands for: with html_text(), or, for style, errors and fields, as markup. */
void template_write(struct buf *out, const struct template *t,
                    void (*put)(struct buf *out, enum template_place place, const void *arg),
                    const void *arg);

/* ---- confread.c: the config file as sections of keys; the only user of inih (pure) ----------- */

struct confread_key {
    struct confread_key *next;
    unsigned line;
    char *name, *text;
};

struct confread_section {
    struct confread_section *next;
    unsigned line;
    char *kind, *name; /* of "[form order]"; name is "" if there is none */
    struct confread_key *keys, *last_key;
};

struct confread {
    const char *file; /* stands in the mistakes */
    struct confread_section *sections;
    struct conf_memory *memory;        /* owns all that was read, and whatever confread_keep() gave */
    struct confread_mistake *mistakes; /* latest first */
    size_t mistake_count;
    bool no_memory; /* sticky */
};

/* Fills r with what the text says: sections, each once, and keys, in order, whatever they are called. */
void confread_text(struct confread *r, const char *file, const void *bytes, size_t len);
/* The first key of this name, or NULL; and the next of the same name. */
struct confread_key *confread_find(const struct confread_section *s, const char *name);
struct confread_key *confread_next(const struct confread_key *k);
/* Zeroed memory that lives as long as r->memory. NULL, and r->no_memory, if there is none. */
void *confread_keep(struct confread *r, size_t size);
char *confread_keep_text(struct confread *r, const char *text);
void confread_free(struct conf_memory *memory);
void confread_mistake(struct confread *r, unsigned line, const char *fmt, ...) PRINTF(3, 4);
/* Appends every mistake by line. false if there was one, running out of memory included. */
bool confread_report(struct confread *r, struct buf *errors);

/* ---- confset.c: what the text of a key means (pure) ------------------------------------------- */

struct conf;

enum confset_kind { KEY_BRIDGE, KEY_FORM, KEY_FIELD, KEY_MAILHOST, KEY_PICKUP }; /* of section */

struct confset { /* one key being given its meaning */
    struct confread *r;
    const struct conf *conf;
    const struct confset_key *key;
    unsigned line;
    char *text;                       /* may be kept and written into */
    void *object;                     /* the struct of the section */
    size_t len;                       /* of text, before anything is written into it */
    const struct confread_key *parts; /* the first of the lines that text is made of, or NULL */
};

/* Sets the member of v->object that v->key is about, or reports what is wrong with v->text. */
typedef void confset(struct confset *v);
confset confset_addresses, confset_attach, confset_bars, confset_choice, confset_controls, confset_dialect,
    confset_flag, confset_folder, confset_forms_at, confset_from, confset_host, confset_language,
    confset_listen, confset_listen_local, confset_missing_origin, confset_mode, confset_names,
    confset_networks, confset_number, confset_origins, confset_password, confset_path, confset_paths,
    confset_pins, confset_profile, confset_rate, confset_redirects, confset_reply_to, confset_seconds,
    confset_server, confset_size, confset_targets, confset_template, confset_text, confset_tls, confset_type,
    confset_url, confset_user, confset_words;

struct confset_key {
    enum confset_kind kind;
    const char *name;
    confset *set;
    size_t offset;       /* of its member in the struct of its section */
    size_t extra;        /* size of that member; for a list, the offset of its count */
    bool list;           /* may stand on several lines */
    const char *def;     /* what stands for an absent key, as it would be written, */
    const char *absent;  /* or in words. Both NULL: the key is required */
    const char *meaning; /* in words, for messages */
    const char *min, *max;
};

/* ---- confkeys.c: every key of the config (pure) ---------------------------------------------- */

/* Reports a section and its keys where nothing of that name is known. */
void confkeys_check(struct confread *r, const struct confread_section *s);
/* Sets the members of object, a struct conf, form_conf or mailhost as s->kind says, from the keys of s and
 * the defaults of all others. c->mailhosts is where a form looks for its targets. */
void confkeys_apply(struct confread *r, const struct conf *c, const struct confread_section *s, void *object);
/* Every key as "section key default" lines, "(words)" where the default is not a text that one could write,
 * and
 * "(required)": what the tests hold the documents against. */
void confkeys_list(struct buf *out);

/* ---- conffield.c: the rules for fields (pure) ------------------------------------------------ */

/* Adds to each form of c the rules of its [field] sections, checked, and those of its `required`. */
void conffield_make(struct confread *r, struct conf *c);

/* ---- conf.c: the config ---------------------------------------------------------------------- */

enum target_kind { TARGET_MAILDIR, TARGET_MBOX, TARGET_LMTP, TARGET_MAILHOST };

struct target { /* one place of a form's `deliver` */
    enum target_kind kind;
    char *text;                /* as written: names the target in state files and messages */
    char *path;                /* maildir, mbox, unix socket of LMTP; NULL: the next two */
    struct endpoint *loopback; /* TARGET_LMTP over TCP: an address of this machine */
    struct mailhost *host;     /* TARGET_MAILHOST */
};

struct mailhost {
    struct mailhost *next;
    char *name;
    int line;
    char *server; /* host name or address, the latter without brackets */
    uint16_t port;
    bool starttls;
    char *username; /* NULL: no AUTH */
    char *password_file;
    char *tls_name; /* name the certificate must carry; defaults to server */
    char *trust;    /* PEM file of anchors, NULL: the system's */
    unsigned char (*pins)[32];
    size_t pin_count;
    bool pin_only; /* the pin stands instead of the chain */
    bool requiretls;
    unsigned timeout; /* ceiling for each wait; 0: RFC 5321 §4.5.3.2 */
    unsigned connections;
};

struct rule { /* what holds for one field of a form: a [field FORM NAME], or a name in `required` */
    struct rule *next;
    char *name;  /* as sent */
    char *label; /* NULL: none */
    int line;
    bool required;
    enum field_type type;
    char **choices; /* of FIELD_CHOICE */
    size_t choice_count;
    unsigned min_length, max_length; /* characters; 0: no limit */
    char *min, *max;                 /* see fieldtype_limit(); NULL: no limit */
    char *pattern;                   /* NULL: none */
    char *pattern_hint;              /* NULL: none */
    char *example;                   /* NULL: none */
    char **accept;                   /* of files: .pdf, image/png, or image and a star; none: any */
    size_t accept_count;
    unsigned max_files; /* 0: as many as the bridge takes */
};

enum spam_mode { SPAM_MARK, SPAM_REFUSE, SPAM_OFF };           /* in the order of their words in confkeys.c */
enum token_mode { TOKEN_OPTIONAL, TOKEN_REQUIRED, TOKEN_OFF }; /* likewise */

struct form_conf {
    struct form_conf *next;
    char *name;
    int line;
    unsigned counters; /* see stats_form(); 0 until the parent sets it */
    char **to;
    size_t to_count;
    char *from;
    char *subject;
    char *reply_to;      /* NULL: none */
    char *from_name;     /* NULL: none */
    char **origins;      /* "https://host[:port]", lower case */
    size_t origin_count; /* 0: any */
    struct target *targets;
    size_t target_count;
    char **required;
    size_t required_count;
    struct rule *rules; /* those of the sections, then those of required that have none */
    char **order;       /* names of fields that come first */
    size_t order_count;
    char **leave_out; /* names of fields that stay out of the mail */
    size_t leave_out_count;
    bool blank_fields; /* empty ones are in the mail */
    bool html;
    unsigned attach;                      /* BODY_JSON, BODY_CSV */
    char *success;                        /* URL, NULL: our own receipt page */
    char *title;                          /* what pages call the form */
    unsigned dialect;                     /* DIALECT_... of the control fields it knows, */
    unsigned controls;                    /* and CONTROL_... of those it honours */
    char **redirects;                     /* what those may name as next page: URLs from redirect_prefix() */
    size_t redirect_count;                /* 0: the origins */
    bool refuse_no_origin;                /* no post without an Origin, or with "null" */
    enum language language;               /* LANGUAGE_AUTO: the visitor's */
    char *templates;                      /* directory; NULL: our own pages alone */
    struct template *template[TEMPLATES]; /* NULL: our own page */
    uint64_t max_body;
    bool alert;        /* no form of visitors: where the mails of alert.c go */
    char **encrypt_to; /* PEM files; none: no encryption */
    size_t encrypt_count;
    bool smime_modern;
    char *sign_cert, *sign_key; /* NULL: not signed */
    struct seal *seal;          /* no key: a front's own, see roles.c */

    unsigned once_window;  /* how long a repeat gets the receipt of the first; 0: each is a mail */
    struct rate rate;      /* of one visitor */
    struct rate form_rate; /* of all together */
    enum spam_mode spam;
    unsigned spam_score; /* from which a post is taken for spam */
    char *junk;          /* Maildir++ folder for it; NULL: the inbox */
    char **honeypots;    /* names of fields that only robots fill in */
    size_t honeypot_count;
    enum token_mode token;
    unsigned min_time;   /* seconds between token and post */
    unsigned proof_bits; /* of work; 0: none */
    unsigned max_links;
    char **spam_words;
    size_t spam_word_count;
    char *spam_words_file;     /* NULL: none */
    struct spamlist *spamlist; /* no key: of the two, a front's own, see roles.c */
};

struct conf {
    char *file;
    struct endpoint *listen;
    size_t listen_count;
    struct network *trusted_proxies;
    size_t trusted_proxy_count;
    unsigned socket_mode; /* of the unix sockets in listen */
    char *socket_group;   /* NULL: the group of the user */
    struct endpoint *http_listen;
    size_t http_listen_count;
    struct endpoint *admin_listen;
    size_t admin_listen_count;
    char *hostname;
    char *certificate; /* NULL, as the next: nothing speaks TLS */
    char *private_key;
    char *user; /* NULL: stay who we are */
    char *spool;
    char *acme_webroot;       /* NULL: none */
    unsigned fronts;          /* processes; 0: one per core */
    unsigned max_connections; /* over all fronts */
    unsigned max_per_address; /* IPv4 address or IPv6 /64, over all fronts */
    unsigned handshake_timeout, head_timeout, body_timeout, answer_timeout, idle_timeout, drain_timeout;
    size_t max_head;
    uint64_t max_body;
    unsigned max_fields;
    unsigned max_files;
    size_t max_memory;             /* bytes of bodies in memory, each front */
    unsigned retry_min, retry_max; /* back-off between tries */
    unsigned alert_after;          /* seconds that a message waits before somebody is told; 0: for ever */
    unsigned max_age;              /* then a message is held */
    char **alert_to;               /* who hears of held messages */
    size_t alert_to_count;         /* 0: nobody */
    char *alert_from;              /* NULL: the first of alert_to */
    struct target *alert_targets;
    size_t alert_target_count;
    struct form_conf *forms; /* the last one is that of the alerts, if there are any */
    struct mailhost *mailhosts;
    struct pickup *pickups;
    bool demo;                  /* GET /f/NAME shows a form: set by the demo, not by a key */
    struct conf_memory *memory; /* owns whatever is pointed to from here */
};

/* Reads and checks everything that the text alone can tell. Every mistake is appended to errors as a line
 * "FILE:LINE: what is wrong and what would be right", in the order of lines. NULL if there was one. */
struct conf *conf_load(const char *path, struct buf *errors);
/* The same from memory, without templates: what the fuzzer calls. name stands in the messages. Pure. */
struct conf *conf_parse(const char *name, const void *bytes, size_t len, struct buf *errors);
void conf_free(struct conf *c);
/* The form of this name that visitors may send, or NULL. */
struct form_conf *conf_form(const struct conf *c, const char *name, size_t len);
/* The same, or that of the alerts: where a message in the spool goes. */
struct form_conf *conf_route(const struct conf *c, const char *name);
/* The first address of `listen` of this kind, or NULL. */
const struct endpoint *conf_listen(const struct conf *c, enum endpoint_kind kind);

/* ---- spam.c: is a post likely to be spam? (pure) --------------------------------------------- */

enum { SPAM_READ_MAX = 256 * 1024 }; /* bytes of text that are looked at, all fields together */

enum spam_sign {
    SPAM_TRAP,
    SPAM_TOO_FAST,
    SPAM_NO_TOKEN,
    SPAM_TOKEN_EXPIRED,
    SPAM_TOKEN_FORGED,
    SPAM_NO_PROOF,
    SPAM_WRONG_PROOF,
    SPAM_LINKS,
    SPAM_WORDS,
    SPAM_MARKUP,
    SPAM_REPEATED,
    SPAM_URL_IN_NAME,
    SPAM_SIGNS
};

enum spam_class { SPAM_CLASS_TRAP, SPAM_CLASS_TOKEN, SPAM_CLASS_CONTENT, SPAM_CLASSES };

struct spam_job {
    const struct form_conf *form;
    struct form *fields;         /* after spam_hide() */
    const unsigned char *secret; /* of the tokens */
    int64_t now;
};

struct spam_verdict {
    bool spam;
    unsigned score;
    unsigned points[SPAM_SIGNS]; /* what each sign adds to the score */
    enum spam_class class;       /* that adds most */
    char reasons[640];           /* in words, without visitor data: "no token (1), many links (3)" */
};

/* Is this field for us alone: token, proof, honeypot? */
bool spam_is_control(const struct form_conf *f, const struct field *field);
/* Hides those. */
void spam_hide(const struct form_conf *f, struct form *fields);
void spam_judge(struct spam_verdict *v, const struct spam_job *job);

/* ---- widget.c: one control of the form that is sent back (pure) ------------------------------ */

struct widget {
    size_t id; /* "f1" is the control, "e1" says what is wrong, "h1" is a hint */
    struct span name, value;
    bool file; /* a file was sent */
    bool wrong, hint;
    const struct rule *rule; /* NULL: none */
    enum language language;
};
void widget_write(struct buf *out, const struct widget *w);

/* ---- page.c, page_json.c: the HTML and JSON that people and scripts get (pure) ----------------
 *
 * Every function appends a complete document in UTF-8. One that does not fit into PAGE_MAX or its memory
 * leaves buf_ok() false: the caller then ends the connection. Visitor text is escaped here. A page posts to
 * /f/NAME of its own host, so that origin is one to accept for every form. */

enum {
    PAGE_MAX = 1024 * 1024
}; /* what to give buf_init(): a form sent back needs most, and stays below it */

/* The Content-Security-Policy of our pages: default-src 'none' and the hash of the one style sheet. Static;
 * the first call computes it, so not from two threads. */
const char *page_csp(void);
/* The policy of such a page of this form, if the owner has a template for it; or NULL. */
const char *page_template_csp(const struct page_style *s, enum template_kind kind);
/* After success, when the form has no `success` URL. All but page_about() and page_error() need s->form. */
void page_receipt(struct buf *out, const struct page_style *s, const char *ref, int64_t time);
/* Goes with a redirect to url, for what does not follow it: the short note that RFC 9110 §15.4.4 asks for. To a script
 * that could not follow it goes alone. */
void page_moved(struct buf *out, const struct page_style *s, const char *ref, const char *url);

struct page_reason {                   /* why a request is refused; NULL: the usual words of its status */
    const char *title, *what, *advice; /* in the language of the page */
    const char *detail;                /* for whoever made the form, in English; NULL: none */
    const char *code;                  /* for scripts; NULL: that of the status */
};
/* Any refusal: what it means, whether anything was stored (never), what to do now. why may be NULL. */
void page_error(struct buf *out, const struct page_style *s, unsigned status, const struct page_reason *why);
/* 422: what to mend, and the same form again with everything that was typed (files excepted, and said so).
 * Above 64 kB of text the form is left out and the visitor sent to the Back button. */
void page_invalid(struct buf *out, const struct page_style *s, struct form *typed,
                  const struct rules_error *errors, size_t count);
/* 403: why it is taken for spam, and the same form again: sent once more, with s->token and without what filled the
 * honeypots, it may pass. */
void page_spam(struct buf *out, const struct page_style *s, struct form *typed,
               const struct rules_error *errors, size_t count);
/* GET / (s->form NULL): what this server is. GET /f/NAME: what this address is for. */
void page_about(struct buf *out, const struct page_style *s, const struct conf *c);
/* GET /f/NAME in the demo: an order form with the fields name, email, item, quantity, message, photo,
 * consent. */
void page_demo(struct buf *out, const struct page_style *s);
/* {"ok":true,"id":REF,"next":URL}; next NULL: "". */
void page_json_ok(struct buf *out, const char *ref, const char *next);
/* {"token":TOKEN,"bits":N,"min_time":S}: what a script does with them stands in doc/formbridge.8. */
void page_json_token(struct buf *out, const struct form_conf *f, const char *token);
/* {"error":WHAT,"errors":[{"field","code","message"}]} */
void page_json_error(struct buf *out, const char *what, const struct rules_error *errors, size_t count);
/* A string with its quotes. */
void page_json_string(struct buf *out, const char *text);
/* The same for any refusal: error, and the message of the one entry of errors, is why->what, or else why->detail, or
 * else the usual words. */
void page_json_refusal(struct buf *out, const struct page_style *s, unsigned status,
                       const struct page_reason *why);

/* ---- script.c: the script that a site may add to its form (pure) ----------------------------- */

/* Below 6000 bytes of UTF-8, in the language of s. */
void script_write(struct buf *out, const struct page_style *s);
enum { SCRIPT_ETAG_SIZE = 40 };
/* What changes with the script: an entity tag, a strong one. */
void script_etag(const struct buf *script, char tag[SCRIPT_ETAG_SIZE]);

/* ---- hello.c: a shorter way through BearSSL's handling of a ClientHello (pure) --------------- */

struct hello_offer { /* what the server can make use of */
    const uint16_t *suites;
    size_t suite_count;
    uint32_t curves, hashes; /* bits, by the numbers that TLS has for them */
};
/* Shortens a handshake message of len bytes in its place, so that BearSSL's server with this offer does the same after
 * it: leaves out the suites, groups and signature algorithms that are not on offer, and the extensions that BearSSL
 * does not read. Its last byte stays the last. Returns the new length. 0: it is no whole ClientHello with extensions, or
 * is wrong, or stays longer than 1 kB, and was not changed. */
size_t hello_trim(unsigned char *message, size_t len, const struct hello_offer *o);
/* After br_ssl_server_reset(): the same answers in less time. The policy's choose() sees suites it must not take: those
 * without ECDHE. */
void hello_hasten(br_ssl_server_context *sc);

/* ---- tls_cache.c: TLS sessions to be resumed --------------------------------------------------- */

/* Sessions, shared by every process forked after tls_cache_new(). */
struct tls_cache;
struct tls_cache *tls_cache_new(void);
void tls_cache_free(struct tls_cache *c);
const br_ssl_session_cache_class **tls_cache_class(struct tls_cache *c);
/* When a session will be too old (an hour), in milliseconds of CLOCK_MONOTONIC, and tls_cache_sweep() has to be called to
 * wipe its secret; 0: there is none. One of the processes has to look at it after each handshake. */
int64_t tls_cache_sweep_at(const struct tls_cache *c);
void tls_cache_sweep(struct tls_cache *c);

/* ---- tls.c: what TLS means here, for servers and clients ------------------------------------- */

/* One profile for every engine: TLS 1.2, ECDHE with AEAD, X25519 and P-256, no renegotiation, the fastest
 * implementations of this CPU, entropy from getrandom(2). Call after br_ssl_*_zero() in place of init_full;
 * the caller still sets buffers, X.509 engine or policy. */
void tls_profile(br_ssl_engine_context *cc);
/* "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"; static. */
const char *tls_suite_name(uint16_t suite);
/* A BearSSL error code in words, static; those of the X.509 engine included. */
const char *tls_error_text(int error);

/* The server's policy: which certificate, and who signs. One serves all connections of a process. */
struct tls_policy {
    const br_ssl_server_policy_class *vtable;
    const struct chain *chain;
    /* hash: BearSSL's id. data: hash_len bytes in, the signature out, at most len. Returns its length, 0:
     * failed. */
    size_t (*sign)(void *ctx, unsigned hash, unsigned char *data, size_t hash_len, size_t len);
    void *sign_ctx;
};
void tls_policy_init(struct tls_policy *p, const struct chain *chain,
                     size_t (*sign)(void *, unsigned, unsigned char *, size_t, size_t), void *sign_ctx);

/* Zeroes and configures a server context; the caller still sets buffers, then calls tls_server_start(). cache may be
 * NULL. */
void tls_server(br_ssl_server_context *sc, struct tls_policy *policy, struct tls_cache *cache);
/* false: BearSSL refuses. */
bool tls_server_start(br_ssl_server_context *sc);

/* ---- signer.c: the only process that holds a private key ------------------------------------- */

/* One socketpair (SOCK_SEQPACKET) for each client; the parent keeps both ends, so that either side can be
 * replaced. */
struct signer_link {
    int fd;
    uint32_t key;      /* which of the client's keys, from 0 */
    uint64_t next;     /* number of the next request: an answer to a dead predecessor is not taken for ours */
    bool silent;       /* the last request had no answer */
    int64_t ask_again; /* until then, in milliseconds of CLOCK_MONOTONIC, a silent signer is not asked */
};
void signer_link_init(struct signer_link *l, int fd);
/* For struct tls_policy: ctx is a signer_link. Waits at most SIGNER_WAIT milliseconds; after a request without an
 * answer fails at once, but for one request in SIGNER_PROBE_EVERY, until one is answered. */
size_t signer_sign(void *ctx, unsigned hash, unsigned char *data, size_t hash_len, size_t len);

struct signer_client {
    int fd;
    const struct key *keys; /* it may use these and no others; they number from 0 */
    size_t key_count;
};
/* The role: answers requests until *stop, which a handler of SIGTERM sets; the caller has it blocked. */
void signer_run(const struct signer_client *clients, size_t count, const volatile sig_atomic_t *stop);

/* ---- state.c: what a retry needs to remember about one message (pure) ------------------------ */

enum { STATE_SIZE_MAX = 1024 * 1024 };

/* state.held of what `formbridge queue hold` held: nobody needs to be told. */
#define STATE_HELD_BY_PERSON "held by a person"

struct state_recipient {
    struct state_recipient *next;
    char *address;
    char *failed; /* why it never will be, or NULL: has it */
};

struct state_target {
    struct state_target *next;
    char *text;                         /* as struct target */
    bool done;                          /* has it */
    char *failed;                       /* why it never will, or NULL */
    unsigned tries;                     /* so far */
    int64_t next_try;                   /* not before */
    char *reason;                       /* of the last try, or NULL */
    struct state_recipient *recipients; /* of SMTP and LMTP, that need no further try */
};

struct state { /* all of it on the heap of its owner; {0} is one that remembers nothing */
    struct state_target *targets;
    char *held;    /* why it needs a person, or NULL */
    int64_t since; /* its age counts from here; 0: from the time in its name */
};

/* Reads the text that state.c describes at its head. st need not be initialised; on false it remembers
 * nothing. */
bool state_parse(struct state *st, const void *bytes, size_t len);
void state_write(const struct state *st, struct buf *out);
void state_free(struct state *st);
/* NULL: it remembers nothing of this target. */
struct state_target *state_find(const struct state *st, const char *text);
/* The same, but makes it. NULL: no memory. */
struct state_target *state_target(struct state *st, const char *text);
/* NULL: this recipient still needs a try. */
const struct state_recipient *state_recipient(const struct state_target *t, const char *address);
/* failed: why, or NULL for one that has it. false: no memory, nothing changed. */
bool state_settle(struct state_target *t, const char *address, const char *failed);
/* Replaces one of the texts of a state; text may be NULL. false: no memory, nothing changed. */
bool state_text(char **place, const char *text);
/* A person has sent it on its way again: failures and waits are forgotten, deliveries are not. */
void state_release(struct state *st, int64_t now);

/* ---- spool.c: what was accepted and is not yet delivered ------------------------------------- */

struct spool {
    int root, tmp, queue, held; /* directories, open for as long as the spool */
    bool groups;                /* syncfs(2) can be relied on there */
};

struct draft {        /* a message being written */
    struct sink sink; /* write it here */
    char name[SPOOL_NAME_SIZE];
    int fd;
    int error;          /* errno of the first failure, sticky; 0: none so far */
    struct buf pending; /* not yet written to the file */
    uint64_t size;
    bool again;
};

/* As the user who owns the spool: makes what is missing of it (mode 0700), syncs the names. false: why says
 * what and where. */
bool spool_open(struct spool *s, const char *path, char *why, size_t why_size);
/* Has its disk blocks and names left, for this user, and is it writable? Nothing is tried. */
bool spool_has_room(const struct spool *s);
/* Can something be written there now? false: errno says why. */
bool spool_probe(const struct spool *s);
void spool_close(struct spool *s);
/* The time, receipt and form of a name; false if it is not one of ours. form is FORM_NAME_MAX+1 bytes. */
bool spool_name_parse(const char *name, int64_t *time, char ref[REF_SIZE], char *form);
/* A receipt from 8 random bytes: 12 letters of Crockford's base 32 in three groups. */
void spool_ref(char ref[REF_SIZE], const unsigned char random[8]);
/* Is this the text of a receipt? */
bool spool_ref_ok(const char *ref);
/* Starts a message. Failure shows in d->error. */
void spool_begin(struct spool *s, struct draft *d, int64_t time, const char *ref, const char *form);
/* The same for one that may be there already, half-written or committed, from a front that failed or died: it takes
 * its own place. */
void spool_begin_again(struct spool *s, struct draft *d, int64_t time, const char *ref, const char *form);
/* The message is taken for spam, and its name will say so. Before spool_commit(). */
void spool_mark_spam(struct spool *s, struct draft *d);
/* Does this name say so? */
bool spool_name_spam(const char *name);
/* Makes n drafts durable with as few syncs as their number allows: afterwards, each with error 0 is committed
 * and survives anything; each with another error has left nothing behind. Closes them all. */
void spool_commit(struct spool *s, struct draft *const *drafts, size_t n);
/* Gives up one draft: closes and removes it. */
void spool_abandon(struct spool *s, struct draft *d);
/* Removes what a crash left in tmp/; only when no front is running on this spool. Returns how many. */
size_t spool_sweep(struct spool *s);
/* For readdir(3), from the start; the caller closes it. NULL: errno says why. */
DIR *spool_list(int directory);
/* How many messages are there. */
size_t spool_count(int directory);
/* Writes all of it. false: errno says why. */
bool spool_write(int fd, const void *bytes, size_t len);
/* Makes a file that must not be there yet, whole or not at all; logs why not. */
bool spool_write_new(const char *path, const struct buf *content, mode_t mode);
/* Makes the name of a file or directory durable: syncs the directory that it is in. false: errno says why. */
bool spool_sync_name(const char *path);
/* The state beside a message in directory (s->queue or s->held). No file means that there is nothing to
 * remember; false: there is one and it cannot be read. The caller frees in any case. */
bool spool_state_read(int directory, const char *name, struct state *st);
/* Replaces it: whole at any time, durable as a file; the name is not synced, for losing it costs only a
 * second delivery. false: errno says why, the old one stands. */
bool spool_state_write(int directory, const char *name, const struct state *st);
void spool_state_remove(int directory, const char *name);
/* Is this file such a state, or one being written? Then name receives that of its message. */
bool spool_state_of(const char *file, char name[SPOOL_NAME_SIZE]);

/* ---- secret.c: random bytes that outlive a restart ------------------------------------------- */

#define TOKEN_SECRET_FILE "token.secret" /* in the spool */

/* From the file of this name. false: errno says why; 0 if it is not the user's alone, or not whole. */
bool secret_read(int directory, const char *name, unsigned char out[SECRET_SIZE]);
/* From the file of this name, or new and put there. false: errno says why, and out is not to be relied on. */
bool secret_load(int directory, const char *name, unsigned char out[SECRET_SIZE]);

/* ---- poptext.c: messages as POP3 sends them (pure) ------------------------------------------- */

struct poptext {    /* one message on its way out; bare LF and CRLF both become CRLF */
    bool top;       /* only the header and some lines */
    bool in_body;   /* top: the header is over */
    uint64_t lines; /* top: still wanted of the body */
    size_t line;    /* bytes of the current line so far */
    unsigned char last;
    bool done; /* no more is wanted */
};

void poptext_whole(struct poptext *t);
void poptext_top(struct poptext *t, uint64_t lines);
/* Appends a piece with dots doubled (RFC 1939 §3): at most twice its length. */
void poptext_put(struct poptext *t, const void *bytes, size_t len, struct buf *out);
/* Completes the last line and appends the final dot: at most 5 bytes. */
void poptext_end(struct poptext *t, struct buf *out);

struct
    popcount { /* octets as RFC 1939 §11 counts them: line ends as two, doubled dots as one; zeroed at the start */
    uint64_t octets;
    unsigned char last;
};

void popcount_put(struct popcount *c, const void *bytes, size_t len);
uint64_t popcount_end(const struct popcount *c);

/* ---- mailbox.c: what Maildir and mbox have in common ------------------------------------------ */

enum outcome { OUTCOME_DONE, OUTCOME_TEMPORARY, OUTCOME_PERMANENT };

struct result {
    enum outcome outcome;
    char reason[REASON_SIZE]; /* one line in words, never a field value */
};

struct parcel {         /* one message on its way to one place */
    const char *name;   /* in spool->queue */
    const char *form;   /* whose it is, by its name */
    const char *from;   /* envelope sender, for mbox */
    const char *folder; /* of a Maildir, ".Junk"; NULL: the inbox */
    uint64_t size;
    struct result result;
    bool unread; /* it failed for itself, not for the place */
};

/* What an errno about a mailbox means to the person who must repair it; static. */
const char *mailbox_remedy(int error);
/* Sets the result of what cannot be done now, "WHAT PATH: why; the remedy". */
void mailbox_fail(struct result *r, const char *what, const char *path, int error);
/* Sets that of a message that cannot be read itself. */
void mailbox_unread(struct parcel *p, int error);
/* Does its header name this form, or none? Whoever may put files into queue/ may rename what is there, and another form's
 * mail goes to other people. false: and the result of such a message. */
bool mailbox_is_of(int fd, const char *form, struct result *r);
/* A message of the spool to be read. -1: the result of its parcel says why. */
int mailbox_open(struct spool *s, struct parcel *p);
/* As read(2), whatever signal comes between. */
ssize_t mailbox_read(int fd, void *bytes, size_t len);

/* ---- maildir.c: delivery into a Maildir ------------------------------------------------------- */

/* Is there no such folder yet, or one that we can write? */
bool maildir_check_folder(const char *path, const char *folder, char *why, size_t why_size);
/* Is this a Maildir (or can it be made one: an existing empty directory, or a missing one whose parent
 * exists) that we can write? Makes what is missing. */
bool maildir_check(const char *path, char *why, size_t why_size);
/* Puts every parcel into new/ by link where it can and by copy where it must, then syncs once; a folder that is
 * missing is made. A parcel that is there already (a crash came between) counts as done. */
void maildir_deliver(const char *path, const char *hostname, struct spool *s, struct parcel *parcels,
                     size_t n);

/* ---- mbox.c: delivery into an mbox ------------------------------------------------------------- */

/* Can we append to this mbox: a plain file, or none yet in a directory where we can make one and its lock? */
bool mbox_check(const char *path, char *why, size_t why_size);
/* Appends every parcel (mboxrd) under dotlock and fcntl lock, then syncs once; what fails is taken off again.
 * After a crash a message may be there twice. now: for the "From " lines. */
void mbox_deliver(const char *path, struct spool *s, int64_t now, struct parcel *parcels, size_t n);

/* ---- wire.c: SMTP as bytes: replies, capabilities, messages made ready (pure) ---------------- */

struct wire_reply { /* RFC 5321 §4.2 */
    unsigned code;  /* 200 to 599; 0: nothing read yet */
    bool done;      /* the last line has been read */
    unsigned lines;
    struct buf text; /* what stands behind the codes, each line ended by LF, as sent */
    char memory[8192];
};

void wire_reply_init(struct wire_reply *r);
/* Takes one line, without its CRLF. false: this is no reply, or one that is far too long. */
bool wire_reply_line(struct wire_reply *r, const char *line, size_t len);
/* Walks through the lines of the text: at starts as 0. false: no more. */
bool wire_reply_each(const struct wire_reply *r, size_t *at, const char **line, size_t *len);
/* The whole reply as one line of printable ASCII, "550 5.1.1 no such user"; what does not fit is left out. */
void wire_reply_text(const struct wire_reply *r, char *out, size_t size);
/* The length of the enhanced status code (RFC 3463) that a line of text begins with, or 0. */
size_t wire_enhanced(const char *text, size_t len);

enum { /* wire_caps.offers */
       CAP_STARTTLS = 1,
       CAP_PIPELINING = 1 << 1,
       CAP_8BITMIME = 1 << 2,
       CAP_SMTPUTF8 = 1 << 3,
       CAP_DSN = 1 << 4,
       CAP_REQUIRETLS = 1 << 5,
       CAP_SIZE = 1 << 6,
       CAP_AUTH = 1 << 7,
       CAP_PLAIN = 1 << 8,
       CAP_LOGIN = 1 << 9,
       CAP_SCRAM_SHA_256 = 1 << 10,
};

struct wire_caps {
    unsigned offers;
    uint64_t size; /* the largest message the host takes, 0: not said */
};

/* From the answer to EHLO or LHLO. */
void wire_caps_read(struct wire_caps *c, const struct wire_reply *r);

struct wire_scan {  /* what a message with LF line ends will need on the wire; fed in pieces of any size */
    uint64_t size;  /* as RFC 1870 §3 counts: with CRLF, without the doubled dots and the final one */
    bool eight_bit; /* has bytes above 127 */
    bool eight_bit_header; /* in its header */
    const char *fault;     /* why it must not be sent, static: "the message ..."; or NULL */
    bool in_header;
    size_t line; /* bytes of the current line so far */
};

void wire_scan_init(struct wire_scan *s);
void wire_scan(struct wire_scan *s, const void *bytes, size_t len);
void wire_scan_end(struct wire_scan *s);

struct wire_body { /* zeroed at the start of a message */
    bool in_line;
};

/* Appends a piece of the message with CRLF line ends and doubled dots: at most twice its length. */
void wire_body(struct wire_body *b, const void *bytes, size_t len, struct buf *out);
/* Completes the last line and appends the final dot: at most 5 bytes. */
void wire_body_end(struct wire_body *b, struct buf *out);

/* May it stand between < and > in an envelope? */
bool wire_path_ok(const char *address);
bool wire_ascii(const char *text);

/* ---- auth.c: SASL as SMTP uses it (pure) ----------------------------------------------------- */

enum auth_mechanism { AUTH_NONE, AUTH_LOGIN, AUTH_PLAIN, AUTH_SCRAM_SHA_256 };

struct auth { /* one login */
    enum auth_mechanism mechanism;
    unsigned step;
    const char *user, *password; /* the caller's, as long as the login lasts */
    bool proved;     /* success may be believed: all was said, and a host that must prove itself did */
    const char *why; /* after a failure: what the host did wrong, static */
    char nonce[25];
    struct buf transcript;       /* AuthMessage of RFC 5802 */
    unsigned char signature[32]; /* what the host must show */
};

void auth_start(struct auth *a, enum auth_mechanism mechanism, const char *user, const char *password,
                const unsigned char random[18]);
/* Answers a challenge, base64 as it came. out receives base64. false: a->why. */
bool auth_step(struct auth *a, const char *challenge, size_t len, struct buf *out);
/* Frees and wipes; also right for one that is all zeros. */
void auth_end(struct auth *a);
/* "SCRAM-SHA-256" */
const char *auth_name(enum auth_mechanism mechanism);

/* ---- anchors.c: the certificates that trust in mail hosts comes from ------------------------- */

struct anchors { /* never changes once loaded */
    br_x509_trust_anchor *list;
    size_t count;   /* never 0 */
    struct buf der; /* what the list points into */
};

/* file: PEM, NULL: the system's. now: those that are expired then are left out. NULL: why says what is wrong. */
struct anchors *anchors_load(const char *file, int64_t now, char *why, size_t why_size);
void anchors_free(struct anchors *a);

/* ---- trust.c: who a mail host must prove to be ----------------------------------------------- */

/* One handshake with one host. The chain must lead to an anchor, with RSA keys of 2048 bits and more or P-256
 * and P-384, and signatures over SHA-256 or better; the leaf must be valid now, name the host in its
 * subjectAltName, be no CA, and be for servers or for anything; if there are pins, its key must be one of
 * them. With pin_only the pin alone decides (as RFC 7671 §5.1 has it for DANE-EE): names and dates say
 * nothing that the key does not. */
struct trust_check;

/* host must outlive it, and a, which may be NULL with pin_only. NULL: no memory. */
struct trust_check *trust_check_new(const struct mailhost *host, const struct anchors *a, int64_t now);
void trust_check_free(struct trust_check *c);
/* For br_ssl_engine_set_x509(). */
const br_x509_class **trust_check_class(struct trust_check *c);
/* The name to ask for (SNI); NULL: none, with pin_only and an address. */
const char *trust_check_name(const struct trust_check *c);
/* What was checked, what was found, what to do, in one sentence. "" as long as nothing is wrong; right after
 * trust_check_new() it says if there is no name to check. */
const char *trust_check_why(const struct trust_check *c);
/* Appends names, issuer, days left and pin of the host's certificate. After a handshake. */
void trust_check_describe(const struct trust_check *c, struct buf *out);

/* ---- lookup.c: the addresses of a name, with a deadline ------------------------------------------ */

enum { LOOKUP_MAX = 8 }; /* addresses of one name: more are no help, and who connects waits for each */

struct lookup {
    struct {
        struct sockaddr_storage addr;
        socklen_t len;
    } at[LOOKUP_MAX];
    size_t count;
};

/* Waits for so many seconds at most; a thread may then still be asking, and use nothing of the caller's. name: at most
 * HOST_NAME_MAX_ bytes; an address is one, too. false: why. From any thread. */
bool lookup_host(const char *name, uint16_t port, unsigned seconds, struct lookup *out, char *why,
                 size_t why_size);
/* Once, before the role narrows itself and starts threads: has libc load its resolver, and asks no name server.
 * The calling thread can ask none from then on. */
void lookup_warm_up(void);

/* ---- dial.c: one conversation with a mail host, TLS or a unix socket, with deadlines --
 *
 * There are two ways to connect. To a mail host nothing can be written before its identity is proven, except
 * for two fixed lines; without TLS there is only this machine. The first failure sticks. */

struct dial;

enum dial_clear { DIAL_EHLO, DIAL_STARTTLS };

/* Connects, each address of the host in turn; unless it is a STARTTLS host, TLS is complete on return.
 * timeout: for each wait, which is at most 30 s for the name or a connection and 60 s for a handshake. NULL: why,
 * which names the host. */
struct dial *dial_host(const struct mailhost *m, const struct anchors *anchors, unsigned timeout, char *why,
                       size_t why_size);
/* Connects to a TARGET_LMTP: a unix socket, or an address that is checked here to be of this machine. */
struct dial *dial_local(const struct target *t, unsigned timeout, char *why, size_t why_size);
/* close_notify where that makes sense, then closes and frees. NULL is fine. */
void dial_close(struct dial *d);
/* All that may be said to a mail host before TLS. hostname: for EHLO. */
bool dial_clear(struct dial *d, enum dial_clear what, const char *hostname);
/* The host agreed to STARTTLS: the handshake. Whatever was received with the agreement is an attack. */
bool dial_starttls(struct dial *d, unsigned timeout);
/* From now on every wait ends at this time together. */
void dial_deadline(struct dial *d, unsigned seconds);
/* Under TLS, or to this machine; everything else fails. Sent at the latest by dial_flush(). */
bool dial_put(struct dial *d, const void *bytes, size_t len);
bool dial_flush(struct dial *d);
/* One line without its CRLF, valid until the next call. false also for end of stream: a line was awaited. */
bool dial_line(struct dial *d, const char **line, size_t *len);
/* What has arrived, at least one byte, valid until the next call. false also for end of stream. */
bool dial_bytes(struct dial *d, const void **bytes, size_t *len);
/* Nothing has arrived that was not read, neither bytes nor an end. Does not wait. */
bool dial_quiet(const struct dial *d);
bool dial_secure(const struct dial *d);
/* "mail.example.com:465", or the address of the socket. */
const char *dial_peer(const struct dial *d);
/* The first failure in words, without the peer; "" if there was none. */
const char *dial_why(const struct dial *d);
/* Appends what protects the conversation: version, suite, and the certificate. */
void dial_describe(const struct dial *d, struct buf *out);
/* Once, before the role narrows itself and starts threads: lookup_warm_up(), and asks the CPU what it can do. */
void dial_warm_up(void);

/* ---- talk.c: commands and their answers, for SMTP and LMTP ----------------------------------- */

enum talk_state { /* what was said last, and is being answered */
                  TALK_GREETING,
                  TALK_EHLO,
                  TALK_HELO,
                  TALK_LHLO,
                  TALK_STARTTLS,
                  TALK_AUTH,
                  TALK_CHALLENGE,
                  TALK_READY, /* the opening is over; from here on a refusal concerns a message */
                  TALK_MAIL,
                  TALK_RCPT,
                  TALK_DATA,
                  TALK_BLOCK,
                  TALK_BODY,
                  TALK_RSET,
                  TALK_QUIT,
                  TALK_DEAD,
};

struct talk {
    struct dial *dial;
    const struct mailhost *host; /* NULL: LMTP */
    struct wire_reply reply;     /* the last answer */
    bool dead;                   /* sticky: nothing more can be said */
    struct result failure;       /* once dead, why */
    char line[4096];
};

/* The functions that return bool do nothing, and return false, once the talk is dead; false means that it is. */

/* "MAIL FROM": for messages. */
const char *talk_name(enum talk_state state);
/* How long to wait for the answer: RFC 5321 §4.5.3.2, or less if the config says so. */
unsigned talk_wait(const struct talk *t, enum talk_state state);
/* Ends it; the reason gets the peer in front. Returns false. */
bool talk_die(struct talk *t, const char *fmt, ...) PRINTF(2, 3);
/* What a person should know when the answer to state does not come: begins with ";", or "". */
const char *talk_hint(const struct talk *t, enum talk_state state);
/* Writes one command line, to which CRLF is added; sent by talk_flush(). */
bool talk_put(struct talk *t, enum talk_state state, const char *fmt, ...) PRINTF(3, 4);
bool talk_flush(struct talk *t, enum talk_state state);
/* Reads one whole answer into t->reply. 421 ends the talk. */
bool talk_await(struct talk *t, enum talk_state state);
/* Has nothing arrived since the last answer? It would be taken for the answer to the next command. */
bool talk_in_turn(struct talk *t, enum talk_state next);
/* All four, for a line that is a whole command. */
bool talk_ask(struct talk *t, enum talk_state state, const char *line);
/* 2 to 5: the first digit of the last answer. */
unsigned talk_class(const struct talk *t);
/* Puts the last answer into r: how bad it is as an answer to state, and in words. */
void talk_refusal(const struct talk *t, enum talk_state state, struct result *r);

/* ---- smtp.c: SMTP and LMTP as a client ------------------------------------------------------- */

struct smtp; /* one connection, reused for several messages */

struct recipient {
    const char *address;
    struct result result;
    bool accepted; /* smtp_send()'s own */
};

/* Reads the password file and the anchors into memory: before the role narrows itself and starts threads. Asks
 * nobody for the host's name. Once for each mail host, which must live as long as the process or until smtp_unload(). */
bool smtp_load(struct mailhost *m, char *why, size_t why_size);
/* Wipes and frees what smtp_load() read, of all hosts. No connection may be open. */
void smtp_unload(void);
/* Connects, proves the host, EHLO, AUTH. NULL: r says why and whether to try again. For TARGET_LMTP and
 * TARGET_MAILHOST. hostname is what EHLO or LHLO says; it must outlive the connection. */
struct smtp *smtp_open(const struct target *t, const char *hostname, struct result *r);
/* MAIL FROM and RCPT TO alone, and RSET: whom the host would take a message for. Nothing is sent. Results as of
 * smtp_send(); false: the connection is of no further use. */
bool smtp_try(struct smtp *s, const char *from, struct recipient *recipients, size_t count);
/* Did the last smtp_send() come as far as the message itself? Else nothing of it can have been taken. */
bool smtp_began(const struct smtp *s);
/* Is it still good for a message? false: the host has hung up or said something (421 when idle for long);
 * then close it and open another. To be asked before a connection is reused. Does not wait. */
bool smtp_idle(const struct smtp *s);
/* One transaction; every recipient's result is set. fd: the message with LF line ends, read from its start
 * whatever its offset. size: of it. false: the connection is of no more use and is to be closed. */
bool smtp_send(struct smtp *s, const char *from, struct recipient *recipients, size_t count, int fd,
               uint64_t size);
/* Appends what protects the connection, what was verified, and what the host offers, for people. */
void smtp_describe(const struct smtp *s, struct buf *out);
/* The size of the largest message that the host takes, in bytes, as it says itself (RFC 1870); 0: it does not say. */
uint64_t smtp_most(const struct smtp *s);
/* QUIT where the connection still allows it, and frees. */
void smtp_close(struct smtp *s);

/* ---- dest.c: one destination: who waits for it, who works for it, how it is doing ------------ */

struct report {       /* of one try to bring one message to one destination */
    bool gone;        /* a person has taken the message out of the queue */
    bool unread;      /* it cannot be read, or is not what its name says: tells nothing of the destination */
    bool unreachable; /* the destination failed as such, not over this message */
    struct result result;         /* as a whole; the worst of the recipients */
    struct recipient *recipients; /* of SMTP and LMTP, that were tried; else none */
    size_t count;
};

struct job { /* one message for one destination; memory of the caller */
    struct dest *dest;
    const char *name; /* in spool->queue */
    const struct form_conf *form;
    int64_t due;    /* not to be tried before */
    unsigned tries; /* that put it off */
    bool postponed; /* due is the destination's fault: try it at once when that works again */
    bool forgotten; /* see dests_forget(); the caller's */
    void *owner;    /* likewise */
    /* Of form->to, who needs no further try; NULL: see the state. The caller frees it. */
    bool *settled;
    struct report *report; /* after a try; the caller takes it out and frees it */
    struct job *next;      /* in the list of dests_take() or dests_forget() */
};

struct dests; /* every destination that the config names */
/* event: an eventfd that becomes readable when dests_take() has something. NULL: no memory. All that follow
 * are for one thread; the workers are threads of this file. */
struct dests *dests_new(const struct conf *c, struct spool *s, int event);
/* By the text of a target; NULL: the config does not name it. */
struct dest *dests_find(struct dests *d, const char *text);
const char *dest_text(const struct dest *d);
/* Waits for its turn from now on; it comes back through dests_take(). false: no memory. */
bool dest_push(struct job *job);
/* Starts workers for what is due. */
void dests_run(struct dests *d, int64_t now);
/* The jobs that were tried, as a list; each has a report. */
struct job *dests_take(struct dests *d);
void dest_report_free(struct report *r);
/* Notes with the job who is settled, since the disk may not take a state now. false: no memory. */
bool dest_settled(struct job *job, const struct report *r);
/* Everything is due now, whatever failed before. */
void dests_flush(struct dests *d, int64_t now);
/* Takes the waiting jobs that are marked as forgotten out of their queues: a list. The others come back when
 * tried. */
struct job *dests_forget(struct dests *d);
/* Does it fail as such? Then reason says why. */
bool dest_down(struct dest *d, char *reason, size_t size);
/* No new tries; waits at most so long for those that are under way. false: some still are, and d must live
 * on. */
bool dests_stop(struct dests *d, unsigned seconds);
void dests_free(struct dests *d);
/* Seconds to wait after this many failures: doubling from min to max, up to a quarter of it taken off at
 * random. */
unsigned dest_backoff(unsigned failures, unsigned min, unsigned max, uint32_t random);

/* ---- names.c: a table of things by their name in the spool ----------------------------------- */

struct named { /* first member of the thing, whose memory is the caller's */
    struct named *chain;
    char name[SPOOL_NAME_SIZE];
};

struct names { /* {0} is an empty one */
    struct named **buckets;
    size_t bucket_count, count;
};

/* The name must not be there yet. false: no memory, or the name is too long. */
bool names_add(struct names *n, struct named *thing, const char *name);
/* NULL: it is not there. */
struct named *names_find(const struct names *n, const char *name);
/* It is there. */
void names_remove(struct names *n, struct named *thing);
/* In no order; each may remove the thing it is given. */
void names_each(const struct names *n, void (*each)(void *arg, struct named *thing), void *arg);
/* The table, not the things. */
void names_free(struct names *n);

/* ---- alert.c: who is to look after held messages hears of them by mail ----------------------- */

#define ALERT_FORM "_alert" /* stands for the form in the names of such mails */

enum { ALERT_INTERVAL = 60 * 60 }; /* between two alerts, at least */

/* If it is time: puts one mail that names the messages that were held, or became alert_after old, since the last one
 * into the queue. now: seconds since 1970. Returns when to call again though nothing is held until then; 0: need not be. A message held
 * now is told of by a call in the next second or later. */
int64_t alert_run(const struct conf *c, struct spool *s, int64_t now);

/* ---- deliver.c: the courier, from the spool to the mailboxes --------------------------------- */

enum deliver_end { DELIVER_ENDED, DELIVER_BUSY, DELIVER_FAILED };

/* Until *stop: delivers what is queued, keeps the times of retries, holds what needs a person. wake: readable
 * when something was committed; non-blocking. What is half-way when *stop comes is finished, within
 * drain_timeout. BUSY: that did not suffice, threads still use c and s, and the process must end. FAILED: it could not
 * begin, and has said why. */
enum deliver_end deliver_run(const struct conf *c, struct spool *s, int wake,
                             const volatile sig_atomic_t *stop);

/* ---- worker.c: one thread for what would stall an event loop --------------------------------- */

struct work { /* the first member of whatever the caller wants done; the worker's until it is collected */
    void (*run)(struct work *w);
    struct work *next;
};

struct worker;
/* NULL: no memory, no thread. */
struct worker *worker_start(void);
/* Called from the loop's thread only, as are the rest. ahead: before all that waits. */
void worker_submit(struct worker *w, struct work *job, bool ahead);
/* Readable when worker_collect() has something. */
int worker_fd(const struct worker *w);
/* A list of what is finished, NULL if nothing is. */
struct work *worker_collect(struct worker *w);
/* Finishes what waits, then frees. */
void worker_stop(struct worker *w);

/* ---- guard.c: how long a login waits after wrong ones (pure) --------------------------------- */

enum { GUARD_PEERS = 512 };

struct guard_peer {    /* IPv4 address or IPv6 /64 (RFC 6177) */
    uint64_t id;       /* network_id() */
    int64_t seen;      /* last attempt; 0: free */
    int64_t until;     /* no attempt is checked before */
    unsigned failures; /* in a row */
    bool known;        /* has logged in */
};

struct guard { /* one mailbox; zeroed at the start; all times are milliseconds of one clock that is never 0 */
    struct guard_peer peers[GUARD_PEERS];
    uint64_t failures; /* from anywhere since it was last quiet */
    uint64_t pressure; /* the same, less one for each GUARD_CALM that passed */
    int64_t calmed;    /* when pressure was last lowered */
};

enum guard_alarm { GUARD_QUIET, GUARD_NOTE, GUARD_ALARM };

/* May an attempt that came at `asked` be checked now? 0: yes, and the next one of this address is put off as if this
 * one were wrong, until guard_result(). Else milliseconds to wait before asking again. */
int64_t guard_wait(struct guard *g, uint64_t id, int64_t asked, int64_t now);
/* Returns what a wrong one is worth to the log: the 1st, 2nd, 4th, 8th ... of an address are a note, the 10th, 100th,
 * 1000th ... of the mailbox an alarm. */
enum guard_alarm guard_result(struct guard *g, uint64_t id, bool right, int64_t now);
/* Has this address logged in? */
bool guard_known(const struct guard *g, uint64_t id);
unsigned guard_failures(const struct guard *g, uint64_t id);

/* ---- popcmd.c: the commands of POP3 (pure) --------------------------------------------------- */

enum {                                 /* bytes of a line, its CRLF included */
       POPCMD_LINE_MAX = 255,          /* RFC 2449 §4 */
       POPCMD_CONTINUATION_MAX = 1024, /* of AUTH, to which that limit does not apply (RFC 5034 §4) */
       POPCMD_USER_MAX = FORM_NAME_MAX,
       POPCMD_PASSWORD_MAX = 255,
};

enum pop_verb {
    POP_USER,
    POP_PASS,
    POP_AUTH,
    POP_CAPA,
    POP_STAT,
    POP_LIST,
    POP_UIDL,
    POP_RETR,
    POP_TOP,
    POP_DELE,
    POP_NOOP,
    POP_RSET,
    POP_QUIT,
};

struct popcmd { /* points into the line */
    enum pop_verb verb;
    const char *text; /* USER, PASS, AUTH PLAIN: the argument; NULL: none */
    size_t len;
    bool numbered; /* LIST, UIDL: has a message number; RETR, TOP, DELE always do */
    uint64_t number, lines;
    const char *why; /* after a failure, for the client, static */
};

struct popcmd_login {
    char user[POPCMD_USER_MAX + 1]; /* "": longer than any we have */
    char password[POPCMD_PASSWORD_MAX + 1];
};

/* One line without its line end. false: c->why. */
bool popcmd_parse(struct popcmd *c, const char *line, size_t len);
/* Sets the user; one that is too long becomes "". */
void popcmd_user(struct popcmd_login *l, const char *text, size_t len);
/* false: too long or holds a NUL. */
bool popcmd_password(struct popcmd_login *l, const char *text, size_t len);
/* The base64 of a PLAIN message (RFC 4616) in which nobody acts for somebody else. */
bool popcmd_plain(struct popcmd_login *l, const char *text, size_t len);

/* ---- maildrop.c: a Maildir as POP3 sees it --------------------------------------------------- */

enum { MAILDROP_UIDL_MAX = 70 }; /* RFC 1939 §7 */

struct maildrop_message {
    uint32_t name;   /* where its file name is in maildrop->names */
    bool in_new;     /* in new/, not in cur/ */
    bool fetched;    /* RETR gave all of it */
    bool deleted;    /* to be removed at QUIT */
    bool gone;       /* another program has removed it since */
    bool refound;    /* maildrop.c's own */
    uint64_t octets; /* UINT64_MAX: not known yet */
};

struct maildrop { /* one session's view; numbers count from 0 here */
    int lock, new, cur;
    struct maildrop_message *messages; /* oldest first */
    size_t count, room;
    char *names;
    size_t names_len, names_room;
};

enum maildrop_outcome { MAILDROP_OK, MAILDROP_IN_USE, MAILDROP_FAILED };

/* Locks the Maildir against other sessions, of this process or another, and lists it. Unless MAILDROP_OK there is
 * nothing to close, and why says what is wrong. Takes as long as the disk does, as do the next four. */
enum maildrop_outcome maildrop_open(struct maildrop *d, const char *path, char *why, size_t why_size);
/* Finds out the octets of one message. false: it is gone, or cannot be read. */
bool maildrop_measure(struct maildrop *d, size_t i);
/* The same for all that are not deleted; those that fail are then `gone`. */
void maildrop_measure_all(struct maildrop *d);
/* The file of a message, or -1. */
int maildrop_file(struct maildrop *d, size_t i);
/* RFC 1939 §6: removes what is deleted and moves what was fetched from new/ to cur/, durably. false: not all of what is
 * deleted was removed, nothing else was; why. */
bool maildrop_update(struct maildrop *d, char *why, size_t why_size);
void maildrop_close(struct maildrop *d);
/* Is it there for the client? */
bool maildrop_has(const struct maildrop *d, uint64_t i);
/* How many there are, and their octets; one that is not measured counts as 0. */
size_t maildrop_stat(const struct maildrop *d, uint64_t *octets);
/* Takes back all deletions. */
void maildrop_reset(struct maildrop *d);
/* The unique id: the file name up to the ":", or the SHA-256 of it in hex where RFC 1939 does not allow that. */
void maildrop_uidl(const struct maildrop *d, size_t i, struct buf *out);

/* ---- popsession.c: one POP3 session, commands in and answers out; touches no socket ---------- */

enum popsession_state { POP_AUTHORIZATION, POP_TRANSACTION, POP_OVER };

enum popsession_want {             /* what a session waits for before it goes on */
                       WANT_INPUT, /* lines, or that its output is taken */
                       WANT_CHECK, /* its password checked: popsession_work() and popsession_worked(), when the guard lets it */
                       WANT_DISK, /* the same, for its mailbox */
};

struct popsession {
    const struct pickup *pickup;
    enum popsession_state state;
    enum popsession_want want;
    void (*job)(struct popsession *s); /* popsession.c's own, like all that follow but `out` and `right` */
    void (*answer)(struct popsession *s);
    struct buf out; /* to be sent; the caller takes it from the front and then buf_clear()s it */
    bool right;     /* the last login */
    char line[POPCMD_CONTINUATION_MAX];
    size_t line_len;
    bool discarding; /* the rest of a line that is too long */
    bool continuing; /* the next line belongs to AUTH */
    struct popcmd_login login;
    bool named; /* USER was given */
    unsigned attempts, mistakes;
    uint64_t commands; /* so far */
    struct maildrop drop;
    bool has_drop;
    enum maildrop_outcome opened;
    bool ok; /* of the last job */
    char why[REASON_SIZE];
    enum pop_verb listing; /* POP_LIST or POP_UIDL while such an answer is being made, else POP_NOOP */
    size_t next;           /* message of it */
    size_t current;        /* message of the last command that named one */
    struct poptext text;
    int file; /* being sent, -1: none */
    size_t fetched, removed;
};

/* Greets. */
void popsession_start(struct popsession *s, const struct pickup *p);
/* Takes what the client sent, up to the end of the next command, and answers it. Returns the bytes taken; 0 while the
 * session wants something else first, or is over. */
size_t popsession_take(struct popsession *s, const char *bytes, size_t len);
/* Out is empty: has it more to say? */
void popsession_more(struct popsession *s);
/* What it wants done; may take long, in any thread, while nobody else touches the session. */
void popsession_work(struct popsession *s);
/* It was done. */
void popsession_worked(struct popsession *s);
/* Wipes; what is deleted but was not confirmed by QUIT stays. */
void popsession_end(struct popsession *s);

/* ---- tlsio.c: the server's side of TLS over a non-blocking socket ---------------------------- */

enum { TLSIO_OUT = 4096 + 85 };

struct tlsio { /* the caller's memory, to be wiped by tlsio_end() */
    int fd;
    bool readable, writable; /* as far as epoll (edge-triggered) and the last call tell */
    bool leaving;            /* the peer has hung up; what it sent before may still be to be read */
    bool hung_up;            /* the same, and all of it was read */
    bool broken;             /* the socket failed */
    bool closing;
    uint64_t sent; /* bytes to the wire so far */
    br_ssl_server_context tls;
    unsigned char in[BR_SSL_BUFSIZE_INPUT], out[TLSIO_OUT];
};

/* Takes fd in any case. */
bool tlsio_start(struct tlsio *t, int fd, struct tls_policy *policy, struct tls_cache *cache);
void tlsio_end(struct tlsio *t);
/* events: of epoll. */
void tlsio_event(struct tlsio *t, uint32_t events);
/* Moves bytes between socket and engine without waiting. true: some were moved. */
bool tlsio_move(struct tlsio *t);
/* The handshake is done. */
bool tlsio_secured(const struct tlsio *t);
/* No more can come or go. */
bool tlsio_over(struct tlsio *t);
/* Clear text that has arrived, NULL if there is none; and how much of it is done with. */
const void *tlsio_in(struct tlsio *t, size_t *len);
void tlsio_in_done(struct tlsio *t, size_t len);
/* Takes clear text to send, as much as there is room for now; returns how much. */
size_t tlsio_put(struct tlsio *t, const void *bytes, size_t len);
/* Nothing waits to be sent. */
bool tlsio_sent(struct tlsio *t);
/* Says the end, once all is sent; what still comes is read away. */
void tlsio_close(struct tlsio *t);

/* ---- pop3.c: the pickup, an event loop over sessions ----------------------------------------- */

struct pickup { /* [pickup NAME]: one Maildir for one owner */
    struct pickup *next;
    char *name; /* also the user name */
    int line;
    struct endpoint *listen;
    size_t listen_count;
    char *maildir;
    char *password; /* a hash of passwd.c */
    unsigned max_connections, max_per_address;
    unsigned login_timeout; /* from connection to login */
    unsigned idle_timeout;  /* RFC 1939 §3: at least ten minutes */
    unsigned drain_timeout;
};

struct pop3 { /* what a pickup process needs; all of it belongs to the caller */
    const struct pickup *pickup;
    const int *listen_fds; /* as many as the pickup has endpoints, non-blocking */
    const struct chain *chain;
    struct signer_link signer;
    struct tls_cache *cache; /* may be NULL */
    int signals;             /* a signalfd: SIGTERM drains, then pop3_run() returns */
};

struct pop3_server;
/* Starts the threads: after sandbox_paths(), before sandbox_calls(). NULL: no memory or no descriptors. */
struct pop3_server *pop3_start(struct pop3 *p);
/* Serves until it has drained. */
void pop3_run(struct pop3_server *s);

/* ---- seal.c: S/MIME for the forms that ask for it -------------------------------------------- */

struct seal; /* who can open the mail of one form, and who signs it: public certificates only */
/* For a form with encrypt_to. key: number of its sign_key among those of all forms, from 0. NULL: why. */
struct seal *seal_load(const struct form_conf *f, uint32_t key, char *why, size_t why_size);
void seal_free(struct seal *s);
/* Can every recipient of the form open a mail of this moment, and the signature be checked? Else why. expiry: the last
 * second of it, as things are. */
bool seal_usable(const struct seal *s, int64_t now, int64_t *expiry, char *why, size_t why_size);
/* Writes the message, sealed, and nothing in clear. false: why, or "" if out failed or there was no memory. */
bool seal_compose(const struct seal *s, const struct message *m, struct signer_link *link, struct sink *out,
                  char *why, size_t why_size);

/* ---- once.c: a repeat gets the receipt of the first --------------------------------------------- */

enum {
    ONCE_KEY = 16, /* bytes of a fingerprint */
    ONCE_SECRET = SECRET_SIZE,
    ONCE_HEADER_MAX = 255,   /* longer Idempotency-Keys are refused */
    ONCE_WINDOW_MAX = 86400, /* seconds */
};

#define ONCE_FIELD "_nonce" /* the field of a form that carries one */

struct once; /* what was claimed and stored, in memory that all fronts share; nothing a visitor wrote */

struct once_sender {   /* what tells visitors apart who send the same */
    struct span key;   /* their Idempotency-Key; .at NULL: none */
    const char *agent; /* User-Agent, or NULL */
    uint64_t visitor;  /* network_id() */
};

struct once_claim {
    unsigned char key[ONCE_KEY];   /* the fingerprint */
    unsigned char check[ONCE_KEY]; /* of the content, where the fingerprint is that of an Idempotency-Key */
    int64_t time;                  /* seconds since 1970 */
    char ref[REF_SIZE];
    bool held;  /* to be settled */
    bool again; /* one that failed or died has had this receipt: it may be in the spool */
    uint32_t slot;
};

enum once_verdict {
    ONCE_FIRST,      /* store it, under claim->ref and ->time, which may be those of one that failed */
    ONCE_WAIT,       /* the first is being stored: ask again */
    ONCE_REPEAT,     /* it is stored: claim->ref and ->time are the first one's */
    ONCE_OTHER,      /* the Idempotency-Key came with other content */
    ONCE_UNREADABLE, /* the Idempotency-Key is none */
};

/* Before the first fork, with a secret for this run. NULL: no memory. */
struct once *once_new(void);
void once_free(struct once *o);
/* One that lasts, for all processes, before the first of the rest. */
void once_secret(struct once *o, const unsigned char secret[ONCE_SECRET]);
/* The value of an Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header-07 §2.1): a string in quotes, or as
 * many send it, without. false: empty, too long or not printable. Pure. */
bool once_header(const char *text, struct span *key);
/* Sets c->key and c->check from the fields, in order but for _nonce, _token and _proof, and from the Idempotency-Key, else from a field _nonce,
 * else from who sent them. form: its name. */
void once_identify(struct once *o, struct once_claim *c, const char *form, struct form *fields,
                   const struct once_sender *from);
/* _nonce is for us and stays out of the mail. */
void once_hide(struct form *fields);
/* Asks for the right to store c, whose key, check, time (now) and ref (a new one) are set. window: seconds. owner: the
 * pid of the front. */
enum once_verdict once_claim(struct once *o, struct once_claim *c, unsigned window, int32_t owner);
/* What became of it. */
void once_settle(struct once *o, struct once_claim *c, bool stored);
/* This front is gone: others may have what it claimed. */
void once_forget(struct once *o, int32_t owner);
/* Wipes what was stored, or failed, before that time. Does not wait. */
void once_sweep(struct once *o, int64_t before);
/* From an earlier run. */
void once_restore(struct once *o, const struct once_claim *c, bool stored);
/* For oncelog.c: a keyed hash that shows what is ours; the next count places of its journal. */
void once_seal(struct once *o, const void *bytes, size_t len, unsigned char seal[ONCE_KEY]);
uint64_t once_place(struct once *o, uint64_t count);

/* ---- oncelog.c: what once.c must remember across a restart ------------------------------------ */

enum {
    ONCELOG_RECORDS = 65536, /* of 64 bytes: as many as fit in memory */
    ONCELOG_LOT_MAX = 128,
};

struct oncelog {
    struct once *once;
    int fd; /* of the journal; -1: none */
    uint64_t place;
    bool failed; /* the last write; was said */
};

/* At the start, as the user of the spool, before any front: takes the secret from root, the spool, or makes it, and
 * tells o what an earlier run has stored. false: why; o then does its work without a memory. */
bool oncelog_load(struct once *o, int root, int64_t now, char *why, size_t why_size);
/* A front's, for its commit thread, before it narrows itself. false: why; the rest then does nothing on the disk. */
bool oncelog_open(struct oncelog *l, struct once *o, const char *spool, char *why, size_t why_size);
void oncelog_close(struct oncelog *l);
/* Of these claims, at most ONCELOG_LOT_MAX, those that are held are about to be stored, in one write. */
void oncelog_begin(struct oncelog *l, struct once_claim *const *claims, size_t n);
/* They were, or not: in one write, then for all fronts. */
void oncelog_end(struct oncelog *l, struct once_claim *const *claims, const bool *stored, size_t n);
/* One record of 64 bytes. false: torn, or not ours. */
bool oncelog_record(struct once *o, const unsigned char *record, struct once_claim *c, bool *stored);

/* ---- commit.c: submissions become durable off the event loop --------------------------------- */

struct submission { /* belongs to its owner before commit_submit() and after commit_collect() */
    struct message message;
    char ref[REF_SIZE];
    struct draft
        draft; /* afterwards draft.error is 0 if it is durable, else an errno and nothing is stored */
    const struct seal *seal; /* NULL: in clear */
    struct once_claim once;  /* its ref and time are those of the message */
    void *owner;
    struct submission *next;
};

struct commits; /* the thread and its queue */
/* wake: a byte is written there (non-blocking) after each commit. signer: a socket to it for signatures of mail. log:
 * is told of each lot. NULL: no memory, no thread. */
struct commits *commit_start(struct spool *s, int wake, int signer, struct oncelog *log);
/* Called from the loop's thread only, as are the rest. */
void commit_submit(struct commits *c, struct submission *s);
/* Readable when commit_collect() has something. */
int commit_fd(const struct commits *c);
/* A list of what is finished, NULL if nothing is. */
struct submission *commit_collect(struct commits *c);
/* Finishes what waits, then frees. */
void commit_stop(struct commits *c);

/* ---- peers.c: how many connections each address has open, over all fronts -------------------- */

struct peers; /* in memory that all fronts share */
struct peers *peers_new(unsigned fronts);
void peers_free(struct peers *p);
/* Never less than the truth, seldom more. An IPv6 /64 is one address. What is no address of the Internet counts in the
 * total alone. */
unsigned peers_count(const struct peers *p, const struct sockaddr_storage *addr);
unsigned peers_total(const struct peers *p);
void peers_enter(struct peers *p, unsigned front, const struct sockaddr_storage *addr);
void peers_leave(struct peers *p, unsigned front, const struct sockaddr_storage *addr);
/* This front is gone, and its connections with it. Returns how many they were. */
unsigned peers_forget(struct peers *p, unsigned front);

/* ---- limit.c: how often a visitor, and a form, may be heard (pure but for its memory) ---------- */

struct limit; /* in memory that all fronts share */
/* NULL: no memory. */
struct limit *limit_new(void);
void limit_free(struct limit *l);
/* One more of this visitor (network_id(); LIMIT_ALL: of the form as a whole). now: microseconds, of a clock that nobody
 * sets. Returns 0, or the seconds until there would be room, and then it was not counted. */
enum { LIMIT_ALL = 0 };
unsigned limit_take(struct limit *l, const struct rate *rate, const char *form, uint64_t visitor,
                    int64_t now);

/* ---- proxy.c: the PROXY protocol, versions 1 and 2 (pure) ------------------------------------ */

enum { PROXY_MAX = 4096 }; /* bytes of a header; those of version 2 could say more than anybody does */

enum proxy_result { PROXY_MORE, PROXY_READ, PROXY_WRONG };

struct proxy {
    size_t len;                      /* of the header: what follows is the visitor's */
    struct sockaddr_storage visitor; /* AF_UNSPEC: it names none, as for the proxy's own looks at us */
    const char *why; /* PROXY_WRONG: in words that follow "its PROXY header is wrong:", static */
};

/* bytes: all that has come since the connection began. */
enum proxy_result proxy_read(struct proxy *p, const void *bytes, size_t len);

/* ---- forwarded.c: X-Forwarded-For, X-Forwarded-Proto and Forwarded (pure) -------------------- */

enum forwarded_verdict {
    FORWARDED_HTTPS,  /* the visitor came over https, and said is who it is */
    FORWARDED_HTTP,   /* not over https, or a leg between proxies was not */
    FORWARDED_SILENT, /* nobody says how */
    FORWARDED_NOBODY, /* nobody says who */
    FORWARDED_WRONG,  /* cannot be read */
    FORWARDED_TORN,   /* two fields, two visitors */
};

/* head: a request head that the gate let through. visitor: AF_UNSPEC if a proxy keeps it to itself ("unknown"), or if
 * the verdict is none of the first three. */
enum forwarded_verdict forwarded_read(struct sockaddr_storage *visitor, const void *head, size_t len,
                                      const struct network *trusted, size_t trusted_count);
/* What the sender of a refused form is told; static. */
const char *forwarded_why(enum forwarded_verdict v);

/* ---- visitor.c: who is at the other end ------------------------------------------------------ */

struct visitor {
    struct sockaddr_storage addr; /* AF_UNSPEC: a proxy keeps it to itself */
    char text[INET6_ADDRSTRLEN];  /* of the address, no port; or a word */
    char via[INET6_ADDRSTRLEN];   /* the proxy that has named the address, "": none */
    const char *protocol;         /* of the last leg, for Received: "HTTPS" or "HTTP" */
    char tls[160];                /* version, suite and curve, or what is known of the way; "": nothing */
};

/* The peer. */
void visitor_name(struct visitor *v, const struct sockaddr_storage *addr);
/* The peer was a proxy, and its PROXY header has named this visitor. */
void visitor_passed_on(struct visitor *v, const struct sockaddr_storage *addr);
/* The handshake is complete. */
void visitor_secured(struct visitor *v, const char *suite, const char *curve);
/* The peer is a proxy on this machine that has done the TLS, and this is the head of a request. Returns 0, or the status
 * to refuse it with, for which why is in words, static: a form must have come over https, from somebody. */
unsigned visitor_forwarded(struct visitor *v, const struct conf *c, const void *head, size_t len, bool post,
                           const char **why);

/* ---- request.c: one request and its answer ------------------------------------------------------
 *
 * What returns bool has queued an answer; false: it could not, and the connection ends, which is poor but
 * honest. */

struct MHD_Connection; /* libmicrohttpd's, which only request.c and http.c call */
struct MHD_Daemon;

struct http { /* the HTTP of one front */
    const struct conf *conf;
    struct MHD_Daemon *daemon;
    struct commits *commits;
    struct once *once;
    struct limit *limit;
    int32_t pid;                  /* ours */
    struct http_link *adding;     /* the one that http_add() is at work on */
    struct http_request *repeats; /* those that wait for the one they repeat */
    struct http_request *reading; /* those that have a body */
    size_t memory;                /* bytes of bodies, all requests together */
    uint64_t bucket_key;          /* random, see network_bucket() */
    size_t waiting;               /* submissions with the commit thread, or with repeats */
    const unsigned char *token_secret;
    bool draining;
};

struct http_link { /* one connection to it */
    struct http *http;
    struct visitor visitor; /* whose request it is */
    uint64_t body;          /* its length, as the gate has counted it … */
    uint64_t taken;         /* … and what libmicrohttpd has taken for it */
    bool asked;             /* a request was announced, and libmicrohttpd has not begun it */
    bool clean;             /* the last request ended well, and nothing of it is left */
    void (*answered)(void *arg);
    void (*ended)(void *arg);
    void *arg;
};

enum request_stage {
    REQUEST_NEW,
    REQUEST_BODY,       /* its head will do, its body is being read */
    REQUEST_COMMITTING, /* its submission belongs to the commit thread, or waits for the one it repeats */
    REQUEST_COMMITTED,
    REQUEST_ANSWERED,
};

struct header {
    const char *name, *value; /* value NULL: left out */
};

struct http_request {
    struct http *http;
    struct http_link *link;
    struct MHD_Connection *connection;
    enum request_stage stage;
    const struct form_conf *form;
    bool json;              /* the client wants JSON */
    enum language language; /* of its pages */
    const char *allow;      /* Access-Control-Allow-Origin, or NULL */
    const char *type;       /* of the answer; NULL: as json says */
    const char *cache;      /* Cache-Control of the answer; NULL: no-store */
    const char *csp;        /* Content-Security-Policy of the answer; NULL: page_csp() */
    struct header more[4];  /* of the answer, see request_add() */
    size_t more_count;
    struct form *body;
    size_t counted;                                  /* of http->memory */
    bool starved;                                    /* the body found no memory */
    struct http_request *next_reading, **reading_at; /* see share.c; NULL: is not there */
    struct control control;
    struct buf next; /* the page that the form names as the next one, if it is allowed */
    enum once_verdict verdict;
    struct spam_verdict spam;
    char token[TOKEN_LEN + 1]; /* given out with the answer */
    struct submission submission;
    struct http_request *next_waiting; /* the same submission is with another request: wait for its end */
};

/* The value of a header of the request, or NULL. Lives as long as the request. */
const char *request_header(const struct http_request *r, const char *name);
/* A script says that it wants JSON; a browser's form post asks for text/html first. */
bool request_wants_json(const struct http_request *r);
/* Does a script of a page ask, as browsers tell (Fetch Metadata, "Sec-Fetch-Mode")? To it a redirect to a page that it
 * may not read, as most, is a failure: it would say that nothing was sent. */
bool request_is_script(const struct http_request *r);
/* Which language the answer is in: that of the form's config, or what the browser prefers. */
enum language request_language(const struct http_request *r);
struct page_style request_style(const struct http_request *r);
/* An empty page for request_answer(); NULL: no memory. */
struct buf *request_new_page(void);
void request_free_page(struct buf *page);
/* One more header for the answer, at most four. Both texts live until it is queued. */
void request_add(struct http_request *r, const char *name, const char *value);
/* Answers with a page, or JSON if r->json, and one more header if value is not NULL. Takes page, which may be NULL or
 * failed. */
bool request_answer(struct http_request *r, unsigned status, struct buf *page, const char *name,
                    const char *value);
bool request_answer_empty(struct http_request *r, unsigned status, const struct header *more, size_t count);
/* A refusal as page or JSON. detail: for whoever made the form, or NULL. */
bool request_refuse(struct http_request *r, unsigned status, const char *detail);
/* why: NULL for the usual words of this status. */
bool request_refuse_with(struct http_request *r, unsigned status, const struct page_reason *why,
                         const char *name, const char *value);
/* 503 with Retry-After: nothing is stored, and it may be different soon. */
bool request_refuse_for_now(struct http_request *r);
/* A whole answer for a request that never reached libmicrohttpd, as what its head, as far as it has come, asks for:
 * status line, headers, page or JSON. why: for whoever made the form, or NULL. */
void request_refusal(struct buf *out, const struct gate *g, unsigned status, const char *why);

/* ---- share.c: who holds how much of max_memory ------------------------------------------------- */

/* From the beginning of r's body to its end it is with those that hold memory. */
void share_begin(struct http_request *r);
void share_end(struct http_request *r);
/* So many bytes by now. */
void share_holds(struct http_request *r, size_t bytes);
/* Of those still being read, the one to give its memory back: the largest of the visitor who holds most. NULL: there is
 * none. */
struct http_request *share_largest(const struct http *h);

/* ---- cors.c: which web sites may send a form, and what their scripts are told ---------------- */

/* May a page of the request's Origin post to r->form? Sets r->allow. */
bool cors_allow(struct http_request *r);
/* The answer where it may not. */
bool cors_refuse(struct http_request *r);
/* The origin of the page that the form stands on, as far as the request tells truly: one of the form's, or NULL if
 * it has none. */
const char *cors_site(const struct http_request *r);
/* Answers OPTIONS. */
bool cors_preflight(struct http_request *r);

/* ---- repeat.c: a submission that was here before ----------------------------------------------- */

/* The body is read and in order, r->submission has its ref and time. Sets r->verdict, and perhaps these two to those of
 * the first; with ONCE_WAIT r is kept until repeat_look(). */
void repeat_check(struct http_request *r);
/* Milliseconds until repeat_look() is to be called, -1: no need. */
int repeat_look_in(const struct http *h);
/* Those that need wait no longer, linked by next; their verdict says why. */
struct http_request *repeat_look(struct http *h);
/* All the others. */
struct http_request *repeat_give_up(struct http *h);
/* The answer to ONCE_OTHER and ONCE_UNREADABLE. */
bool repeat_refuse(struct http_request *r);

/* ---- screen.c: spam, where it meets HTTP ------------------------------------------------------- */

/* Answers GET /f/NAME/token, and OPTIONS there. */
bool screen_token(struct http_request *r);
bool screen_token_preflight(struct http_request *r);
/* Gives a page with the form on it a token, unless the visitor has sent one that is still good. It is old enough to be
 * used at once: whoever sees that page has shown that he is there, or has typed before. */
void screen_offer(struct http_request *r, struct page_style *style);
/* Judges a complete body. true: to be stored, marked or not. false: refused, and answered, where *answered is true. */
bool screen_passes(struct http_request *r, bool *answered);
/* It was stored. */
void screen_stored(const struct http_request *r);

/* ---- submit.c: the life of one submission ----------------------------------------------------
 *
 * submit_begin(), submit_feed() for each piece, submit_end(); then r->stage is REQUEST_ANSWERED, or it is
 * REQUEST_COMMITTING until commit_collect() gives it back: then submit_settled(), and submit_committed() if its visitor
 * is still there. */

/* Judges the head of a POST to r->form. Without an answer r->stage is REQUEST_BODY. */
bool submit_begin(struct http_request *r);
void submit_feed(struct http_request *r, const void *bytes, size_t len);
/* The body ends here. */
bool submit_end(struct http_request *r);
/* It is durable, or could not be stored: counts and logs it. */
void submit_settled(const struct http_request *r);
/* The answer. */
bool submit_committed(struct http_request *r);
/* It has waited for the one that it repeats: has it stored if that one failed, else r->stage is REQUEST_COMMITTED. */
void submit_awake(struct http_request *r);
/* Gives the memory of the body back. */
void submit_drop(struct http_request *r);

/* ---- http.c: links and routes ----------------------------------------------------------------- */

/* secret: of the tokens, SECRET_SIZE bytes. NULL: no memory. All of it lives on the caller's thread. */
struct http *http_start(const struct conf *c, struct spool *s, int wake, int signer, struct oncelog *log,
                        struct limit *limit, const unsigned char *secret);
/* Descriptors to poll for reading; call http_run() when one is, whenever http_due() says so, and after http_due_in()
 * milliseconds unless that is -1. */
int http_fd(const struct http *h);
int http_commit_fd(const struct http *h);
bool http_due(struct http *h);
int http_due_in(const struct http *h);
void http_run(struct http *h);
/* A connection whose clear text comes and goes through fd, one end of a socketpair; takes fd in any case.
 * answered(arg) is called when a request's answer has been written to fd. NULL: no memory. The link ends when
 * fd's other end is closed, or when http ends it after an answer; then ended(arg) is called unless
 * http_forget() came before. */
struct http_link *http_add(struct http *h, int fd, void (*answered)(void *arg), void (*ended)(void *arg),
                           void *arg);
void http_forget(struct http_link *l);
/* Before each request: whose it is, and how long its body is. A request that was not announced ends the link. */
void http_announce(struct http_link *l, const struct visitor *v, uint64_t body);
/* The next request may be another visitor's: the last one was answered, and libmicrohttpd has taken for its body
 * just the bytes that the gate counted as such, so that none is left to be read as the beginning of the next. */
bool http_clean(const struct http_link *l);
/* From now on every answer closes its connection. */
void http_drain(struct http *h);
/* Commits what waits; its answers are lost. */
void http_stop(struct http *h);

/* ---- plain.c: the answers on http_listen and admin_listen (pure but for one file) ------------ */

/* head: a request head that the gate let through. acme: acme_webroot, open, or -1. */
void plain_redirect(const struct conf *c, int acme, const void *head, size_t len, struct buf *out);
/* not_ready: why /readyz is to say no, or NULL. */
void plain_admin(const char *not_ready, const void *head, size_t len, struct buf *out);

/* ---- spare.c: memory for what comes and goes ------------------------------------------------- */

struct spares { /* starts as zeros */
    struct spare *first;
    unsigned count;
};
/* size bytes, whole pages, always the same number: all zero. NULL: no memory. */
void *spare_take(struct spares *all, size_t size);
/* Wipes what was written of it and keeps it for the next, or gives it back to the kernel. written: NULL if it is not
 * known what was, or much; then it is given back. */
void spare_give(struct spares *all, void *memory, size_t size, const struct iovec *written, size_t count);

/* ---- stream.c: a peer's socket, with TLS or without ------------------------------------------ */

enum {
    STREAM_PAGE = 4096,
    STREAM_IN =
        (BR_SSL_BUFSIZE_INPUT + STREAM_PAGE - 1) / STREAM_PAGE * STREAM_PAGE, /* a record of full size */
    STREAM_OUT = 5 * STREAM_PAGE,
    STREAM_WIRE = STREAM_PAGE,
    STREAM_SIZE = STREAM_IN + STREAM_OUT + STREAM_WIRE,
    STREAM_IN_USUAL = STREAM_PAGE,      /* what most requests write of it */
    STREAM_OUT_USUAL = 3 * STREAM_PAGE, /* and most certificates and pages */
};

struct stream {
    int fd;
    bool secure;                     /* with TLS */
    bool readable, writable;         /* as far as epoll and the last call tell */
    bool ended;                      /* epoll has told of the end, which is to be read */
    bool hung_up;                    /* the peer sends no more */
    bool finished;                   /* FIN was sent */
    bool dead;                       /* nothing can be moved any more */
    bool large;                      /* more of in or out was written than by most */
    unsigned char *in, *out;         /* the engine's buffers; without TLS plain ones, with */
    size_t in_len, out_pos, out_len; /* what they hold */
    unsigned char *wire;             /* received, and not yet asked for by the engine */
    size_t wire_at, wire_len;
    br_ssl_server_context tls;
};

/* s is zero; memory has STREAM_SIZE bytes, whole pages, and both outlive the use. policy: NULL for one without TLS. fd
 * stays the caller's. false: no randomness. */
bool stream_open(struct stream *s, int fd, unsigned char *memory, struct tls_policy *policy,
                 struct tls_cache *cache);
/* What epoll told: events of epoll_wait(2). */
void stream_event(struct stream *s, uint32_t events);
/* Clear text that has arrived, or NULL. */
unsigned char *stream_in(struct stream *s, size_t *len);
void stream_in_done(struct stream *s, size_t len);
/* Room for clear text that is to leave, or NULL if there is none now. */
unsigned char *stream_out(struct stream *s, size_t *len);
/* len bytes of it are written, the last before end. flush: they are not to wait for more. */
void stream_out_done(struct stream *s, const unsigned char *end, size_t len, bool flush);
/* These move what one call can move, and return whether it was anything. handshake: no clear text has left yet. */
bool stream_send(struct stream *s, bool handshake);
bool stream_receive(struct stream *s);
/* Reads without taking, of one that has not received yet. Bytes, or what is not positive: nothing now, or dead. */
ssize_t stream_peek(struct stream *s, void *bytes, size_t size);
bool stream_all_sent(const struct stream *s);
/* The handshake is over. */
bool stream_secured(const struct stream *s);
/* TLS was ended, by either side or by a fault. */
bool stream_closed(const struct stream *s);
/* Announces the end to the peer. */
void stream_close(struct stream *s);
/* After that: lets all leave, says FIN, and reads away what still comes, until the peer ends, too (dead). false: call
 * again without waiting for an event. */
bool stream_linger(struct stream *s);
/* Gives back the pages of the buffers, if nothing is in them. */
void stream_rest(struct stream *s);

/* ---- channel.c: the ways from connections to http -------------------------------------------- */

struct conn;

/* Our end of a socketpair. It belongs to a connection while that has a request with http. */
struct channel {
    struct conn *owner;     /* NULL: it waits for the next */
    struct http_link *link; /* NULL: http has ended it */
    void (*goes_on)(struct conn *owner);
    int fd;
    bool readable, writable; /* as far as epoll and the last call tell */
    bool ended;              /* epoll has told of the end, which is to be read */
    bool watches_room;       /* epoll tells when a send can go on */
    struct channel *next;    /* of those that wait */
};

struct channels {          /* that wait for a request; starts as zeros */
    struct channel *first; /* the last used */
    unsigned count, least; /* how many; and how many at the least since channel_trim() */
};

/* goes_on is called, with the owner, when http has answered its request or ended the channel. NULL: no memory or no
 * descriptors. */
struct channel *channel_open(struct http *http, void (*goes_on)(struct conn *owner));
void channel_close(struct channel *h);
/* What epoll told: events of epoll_wait(2). Returns the owner, or NULL. */
struct conn *channel_event(struct channel *h, uint32_t events);
/* One that waits and was not ended meanwhile, or NULL. */
struct channel *channel_take(struct channels *all);
/* The owner's request is answered. Closes what cannot serve another. */
void channel_give(struct channels *all, struct channel *h);
/* Closes those that nobody has needed since the last call. Returns how many. */
unsigned channel_trim(struct channels *all);

/* ---- conn.c: one connection of the front: TLS, gate, HTTP ------------------------------------ */

enum conn_kind {
    CONN_FORMS,   /* TLS */
    CONN_PROXIED, /* becomes a CONN_FORMS when its PROXY header has been read */
    CONN_PLAIN,   /* HTTP from a proxy on this machine */
    CONN_REDIRECT,
    CONN_ADMIN,
};

/* Every phase has a deadline of its own, which no byte from the peer moves. */
enum phase {
    PHASE_HANDSHAKE,
    PHASE_IDLE,    /* nothing of a next request has come; after some seconds the buffers are given back … */
    PHASE_RESTING, /* … and this begins */
    PHASE_HEAD,
    PHASE_BODY,
    PHASE_PAUSE,  /* the request is complete, but it is too early for an answer: of CONN_PLAIN */
    PHASE_ANSWER, /* the request is complete, its answer is not yet sent */
    PHASE_LINGER, /* all is said; the rest is read away, so that the peer can read the last answer */
    PHASE_COUNT
};

struct conn_env { /* what all connections of a front share */
    const struct conf *conf;
    const struct spool *spool;
    struct http *http;
    struct tls_policy policy;
    struct tls_cache *cache;
    struct signer_link *signer;
    struct peers *peers;
    unsigned front; /* its number */
    int epoll;
    int acme;
    bool draining;
    bool passed;          /* something was given to http since its last run */
    struct conn *current; /* being pumped */
    struct conn *ready;   /* have something to do */
    struct spares spares; /* their memory */
    struct channels channels;
};

struct conn {
    struct conn_env *env;
    enum conn_kind kind;
    struct stream stream; /* its dead: to be freed by the loop */
    struct channel *http; /* NULL: none */
    struct gate gate;
    struct visitor visitor;
    struct sockaddr_storage counted; /* for whom it counts with peers; AF_UNSPEC: for nobody alone */
    bool awaits_proxy;               /* no byte of TLS before the PROXY header */
    enum phase phase;
    unsigned entered;   /* phases so far: the same one again is a new one */
    bool watches_room;  /* epoll tells when a send can go on */
    bool busy;          /* a request is with http and not yet answered */
    bool discard;       /* what else the peer sends is of no interest */
    bool closing, shut; /* the last answer is on its way; and after it the end was announced */
    bool full_handshake;
    bool queued;          /* in env->ready */
    struct iovec runs[2]; /* what the gate let through and http has not taken yet: a head, of a body */
    size_t run_taken;     /* bytes of clear text that they are */
    struct buf reply;     /* an answer of our own, not http's */
    size_t reply_sent;

    /* The loop's: */
    enum phase listed;
    unsigned listed_at; /* value of entered then */
    bool is_listed;
    int64_t deadline; /* milliseconds, CLOCK_MONOTONIC */
    struct conn *prev, *next, *next_ready;
};

/* epoll's data for a connection is its address, for a channel its address plus this. */
enum { CONN_CHANNEL = 1 };

/* Takes fd (non-blocking) in any case, and counts it with peers until conn_free(). NULL: no memory. */
struct conn *conn_new(struct conn_env *env, enum conn_kind kind, int fd, const struct sockaddr_storage *addr);
/* Of an address that has just been accepted; proxies count for their visitors, not for themselves. false: it has too
 * many already. */
bool conn_room(const struct conn_env *env, enum conn_kind kind, const struct sockaddr_storage *addr);
void conn_free(struct conn *c);
/* Puts it on env->ready, once. */
void conn_ready(struct conn *c);
/* Moves what can be moved without waiting; afterwards phase and stream.dead say how it stands. */
void conn_pump(struct conn *c);
/* The deadline of its phase has passed. */
void conn_expire(struct conn *c);
/* The process is to end: says goodbye where none has come for a while. */
void conn_drain(struct conn *c);

/* ---- serve.c: the front, an event loop ------------------------------------------------------- */

struct front { /* what a front process needs; all of it belongs to the caller */
    const struct conf *conf;
    struct spool *spool;
    const int *listen_fds, *http_fds, *admin_fds; /* as many as the config has endpoints */
    const struct chain *chain;
    struct signer_link signer;
    int mail_signer; /* another socket to the signer, for the commit thread */
    const unsigned char *token_secret;
    struct tls_cache *cache;
    struct peers *peers;
    struct limit *limit;
    struct oncelog once;
    unsigned number; /* 0 … fronts-1 */
    int wake;        /* write end of the courier's pipe */
    int acme;        /* acme_webroot, open, or -1 */
    int signals;     /* a signalfd: SIGTERM drains, then serve_run returns */
};

/* Opens what the loop needs and starts the commit thread: after sandbox_paths(), before sandbox_calls(). */
struct serve *serve_start(struct front *f);
/* Serves until it has drained; s is gone then. */
void serve_run(struct serve *s);

/* ---- sandbox.c: each role narrows itself; there is no way back and no way round -------------- */

enum sandbox_role { SANDBOX_SIGNER, SANDBOX_FRONT, SANDBOX_COURIER, SANDBOX_PICKUP };

enum {                    /* what may be done beneath a path; all else is refused */
       ALLOW_READ = 1,    /* open files for reading, list directories */
       ALLOW_DROP = 2,    /* make, write, rename and remove files; not read, not list */
       ALLOW_FOLDERS = 4, /* make directories */
       ALLOW_MOVE = 8,    /* rename files to there, and remove them; not write */
};

struct sandbox_path {
    const char *path;
    unsigned allow;
};

/* Becomes the user (all groups and capabilities dropped), sets no_new_privs, not dumpable. NULL: keeps the
 * user. */
bool sandbox_user(const char *user, char *why, size_t why_size);
/* Does this kernel offer what the next two need? why says what, in either case. */
bool sandbox_kernel(char *why, size_t why_size);
/* Landlock: only these paths from now on; no TCP socket is bound and, but for the courier, none connected
 * where the kernel can see to that. Threads started later inherit it. */
bool sandbox_paths(enum sandbox_role role, const struct sandbox_path *paths, size_t count, char *why,
                   size_t why_size);
/* seccomp, for all threads: only the calls this role needs; another one ends the process, and bad_call
 * (shared with the parent) says which. */
bool sandbox_calls(enum sandbox_role role, int *bad_call, char *why, size_t why_size);
/* The name of a system call, or "unknown". */
void sandbox_call_name(int number, char *out, size_t size);

/* ---- notify.c: a word to the service manager, if there is one -------------------------------- */

/* Everything serves; after a reload as well, whatever became of it. */
void notify_ready(void);
void notify_reloading(void);
void notify_stopping(void);
/* Has it keep copies of descriptors, 1 to NOTIFY_KEEP_MAX, for the next run, if it is set up to (FileDescriptorStoreMax
 * of systemd), beside those it keeps. */
enum { NOTIFY_KEEP_MAX = 64 };
void notify_keep(const int *fds, size_t count);
/* All that it keeps. */
void notify_forget(void);
/* Until it has done what it was told; for five seconds at most. */
void notify_wait(void);

/* ---- listen.c: listening sockets ------------------------------------------------------------- */

/* Makes one, non-blocking. The unix socket of an earlier run is replaced; one that answers, or another file, is not. -1:
 * why, without the address. */
int listen_at(const struct endpoint *e, char *why, size_t why_size);
/* Makes one that was handed over like one of our own. */
bool listen_again(int fd);
/* Does somebody answer at a unix socket, for all we can tell? */
bool listen_answers(const struct endpoint *e);
/* Who may connect to a unix socket: its mode and its group, NULL: that stays. false: why. */
bool listen_permit(const struct endpoint *e, unsigned mode, const char *group, char *why, size_t why_size);
/* The group that socket_group names, or that of the user; NULL: the one we have. false: there is none of that name,
 * or no such user. Static. */
bool listen_group(const struct conf *c, const char **group);

/* ---- sample.c: values that are right by their rules (pure) ----------------------------------- */

/* Appends one: the rule's example or, but for a pattern, one that is made up. email: for fields of addresses. now:
 * seconds since 1970. */
void sample_value(struct buf *out, const struct rule *rule, const char *email, int64_t now);
/* Appends a name and a type for a file of a kind that the rule accepts. */
void sample_file(struct buf *name, struct buf *type, const struct rule *rule);

/* ---- check.c: is everything the config names there, and right? ------------------------------- */

enum check_kind {
    CHECK_START,   /* only what is not in order; a certificate that has expired is said, but not counted */
    CHECK_QUIET,   /* before a reload: counted, too */
    CHECK_RENEWAL, /* the same, for a new TLS certificate: what concerns one form alone is only a warning */
    CHECK_SHOWN,   /* for a person: what is in order, too */
    CHECK_ONLINE,  /* that, and talks to every mail host and LMTP server */
};

enum { CHECK_AT_SIZE = 256 };

/* For the log, and not for a person? */
bool check_quiet(enum check_kind kind);
/* Looks at keys, certificates, spool, mailboxes, the kernel. Makes the spool and empty Maildirs where they
 * are missing. Becomes conf->user on the way: for a process of its own. Each finding is a line in out, "ok:
 * …" (not of the first three kinds), "made: …", "warning: …" or "problem: …"; the last sums up (likewise). at
 * (CHECK_AT_SIZE) always names what is being looked at. Returns the number of problems. */
unsigned check_run(const struct conf *c, enum check_kind kind, struct buf *out, char *at);

/* ---- checkup.c: a check in a process of its own ----------------------------------------------- */

struct checkup {
    pid_t pid;     /* 0: none runs */
    int64_t until; /* seconds of CLOCK_MONOTONIC: then it hangs */
    char *at;      /* what it is looking at, shared with it */
};

/* check_run() in a child of this process, which stays as it is. Findings go to the log or, for a person, to stdout.
 * One at a time. false: says why in the log. */
bool checkup_begin(struct checkup *u, const struct conf *c, enum check_kind kind);
/* For the status of waitpid(2). false: there are problems, or it says what ended the process. */
bool checkup_end(struct checkup *u, int status);
/* Has it taken too long? Then it says so in the log, and stops it. */
bool checkup_hangs(struct checkup *u);
/* Kills it, if it runs. It may take its time to die, and is nobody's concern but that of who waits for all children. */
void checkup_stop(struct checkup *u);
/* All of it, for a person: waits as long as it takes. false: there are problems. */
bool checkup_run(const struct conf *c, enum check_kind kind);

/* ---- bound.c: those that the parent holds ----------------------------------------------------- */

struct bound {
    struct bound *next;
    struct endpoint at; /* its text may be empty */
    int fd;
    bool wanted;
};

/* NULL: there is none at that address. */
struct bound *bound_find(struct bound *list, const struct endpoint *e);
/* Finds or makes those of endpoints, and lets whom the config names use those with a path. false: says why in the log;
 * some may have been made. fds: count of them; they stay the list's. */
bool bound_open(struct bound **list, const struct conf *c, const struct endpoint *endpoints, size_t count,
                int *fds);
/* Marks those of endpoints, and closes what is not marked. Returns how many. */
void bound_want(struct bound *list, const struct endpoint *endpoints, size_t count);
unsigned bound_close_unwanted(struct bound **list);
/* Takes those that a service manager hands over at the start (sd_listen_fds(3)). Before any other descriptor is made. */
void bound_inherit(struct bound **list);
/* Leaves all with the service manager for the next run, in place of what it keeps. */
void bound_hand_on(const struct bound *list);

/* ---- roles.c: the life of each role, from fork to its loop ----------------------------------- */

struct set { /* one set of processes and what they share; replaced as a whole on reload */
    const struct conf *conf;
    unsigned fronts;
    const int *listen_fds, *http_fds, *admin_fds; /* the parent's, in the order of the config */
    int (*signer)[2]; /* for each client of the signer: its end, the signer's end */
    unsigned signer_count;
    int *const *pickup_fds; /* for each pickup its listening sockets */
    int wake[2];            /* pipe: the courier's end, the fronts' end */
    int ready[2];           /* pipe: the parent's end; each role writes a byte when it has narrowed itself */
    const struct chain *chain; /* of the certificate as it was when this set was made */
    struct tls_cache *cache;
    struct peers *peers;
    struct once *once; /* these two are the parent's, and outlive this set */
    struct limit *limit;
    int *bad_calls;              /* shared memory, one for each role */
    unsigned char *token_secret; /* SECRET_SIZE; for the fronts alone: the others wipe their copy */
};

/* How many sockets to the signer there are. */
unsigned roles_links(const struct conf *c, unsigned fronts);

/* Each narrows the calling process, does its work and does not return. number: of the front; slot: in
 * bad_calls. */
_Noreturn void roles_signer(const struct set *s, unsigned slot);
_Noreturn void roles_courier(const struct set *s, unsigned slot);
_Noreturn void roles_front(const struct set *s, unsigned slot, unsigned number);
_Noreturn void roles_pickup(const struct set *s, unsigned slot, unsigned number);

/* ---- prepare.c: the spool before the first front starts ---------------------------------------- */

/* Removes what an earlier run left half-written, and fills secret with that of the tokens: the one that is kept in the
 * spool or, where none can be kept, one for this run; tells once what an earlier run has stored. false: errno says
 * why. */
bool prepare_spool(const struct conf *c, struct once *once, unsigned char secret[SECRET_SIZE]);

/* ---- parent.c: starts the roles, replaces those that die, reloads ---------------------------- */

/* Returns an exit code of sysexits(3). Takes conf. */
int parent_run(struct conf *c);

/* ---- demo.c: everything embedded, to try it -------------------------------------------------- */

/* Makes a certificate, a config and a Maildir in directory where they are missing, serves, and shows on
 * stdout what lands. Returns an exit code. */
int demo_run(const char *directory);

/* ---- queue.c: what waits and what needs a person, seen and steered --------------------------- */

/* words: what stands behind `queue` on the command line. Returns an exit code: 1 if there are held ones listed. */
int queue_run(const struct conf *c, int count, char **words);
/* Text of others, such as what a mail host answered: "?" for what is not printable ASCII. */
void queue_print(FILE *out, const char *text);

/* ---- selftest.c: one submission through the whole path --------------------------------------- */

/* Sends form to the running server as a visitor would, and follows the receipt for at most a minute. Shows on
 * stdout where it is. Returns an exit code: EX_OK if it was delivered, EX_TEMPFAIL if it still waits. */
int selftest_run(const struct conf *c, const char *form);

/* ---- smimecmd.c: `formbridge smime` ---------------------------------------------------------- */

/* words: what stands behind `smime` on the command line. Returns an exit code. */
int smimecmd_run(int count, char **words);

#endif
