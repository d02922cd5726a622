/* MIME's ways to write any bytes as short lines of ASCII: RFC 2045 (bodies), 2047 (header text), 2231
 * (parameters). */

#include "bridge.h"

#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#include <sys/platform/x86.h>
#endif

enum {
    HEADER_LINE = 78,      /* RFC 5322 §2.1.1, without the line end */
    WORD_MAX = 75,         /* an encoded-word, RFC 2047 §2; enough for a line, its name included, too */
    QUOTED_MAX = 60,       /* of a name that stands in quotes */
    BASE64_LINE_IN = 57,   /* bytes that make a line of 76 */
    BASE64_LINE = 77,      /* that line with its end */
    BASE64_LINES = 50,     /* given to the sink at a time */
    PARAMETER_PIECE = 55,  /* of a RFC 2231 value, so that its line stays short */
    PARAMETER_PLAIN = 60,  /* a longer value is not written as one quoted string */
    PARAMETER_SUFFIX = 16, /* of a fallback that is cut: an extension this long is kept */
};

#define WORD_START "=?UTF-8?Q?"
#define WORD_END   "?="

static bool is_alnum(uint32_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Three bytes: mark and the byte in hexadecimal. */
static void escape(unsigned char out[3], char mark, unsigned char c)
{
    static const char hex[] = "0123456789ABCDEF";
    out[0] = (unsigned char)mark;
    out[1] = (unsigned char)hex[c >> 4];
    out[2] = (unsigned char)hex[c & 15];
}

static void put_escaped(struct buf *out, char mark, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char three[3];
        escape(three, mark, (unsigned char)bytes[i]);
        buf_put(out, three, sizeof three);
    }
}

/* ---- quoted-printable ------------------------------------------------------------------------ */

void encode_qp_begin(struct encode_qp *q, struct sink *out)
{
    *q = (struct encode_qp){.out = out};
}

static void qp_emit(struct encode_qp *q, const void *bytes, size_t len)
{
    if (!q->failed && len > 0) {
        q->failed = !q->out->put(q->out, bytes, len);
    }
}

/* A first byte that an mbox reader ("From ", RFC 2049 §3) or SMTP (".", RFC 5321 §4.5.2) may take for its own
 * is escaped. */
static void qp_line(struct encode_qp *q, const char *end)
{
    bool dot = q->len > 0 && q->line[0] == '.';
    bool from = q->len >= 5 && memcmp(q->line, "From ", 5) == 0;
    size_t skip = 0;
    if (dot || from) {
        unsigned char first[3];
        escape(first, '=', q->line[0]);
        qp_emit(q, first, sizeof first);
        skip = 1;
    }
    qp_emit(q, q->line + skip, q->len - skip);
    qp_emit(q, end, strlen(end));
    q->len = 0;
}

static bool is_literal(unsigned char c)
{
    return (c >= ' ' && c <= '~' && c != '=') || c == '\t';
}

static void qp_byte(struct encode_qp *q, unsigned char c)
{
    bool literal = is_literal(c);
    size_t width = literal ? 1 : 3;
    if (q->len + width > ENCODE_QP_TEXT) {
        qp_line(q, "=\n");
    }
    if (literal) {
        q->line[q->len] = c;
    } else {
        escape(q->line + q->len, '=', c);
    }
    q->len += width;
}

void encode_qp_put(struct encode_qp *q, const void *bytes, size_t len)
{
    const unsigned char *s = bytes;
    for (size_t i = 0; i < len && !q->failed;) {
        size_t room = ENCODE_QP_TEXT - q->len, run = 0;
        while (run < room && i + run < len && is_literal(s[i + run])) {
            run++;
        }
        memcpy(q->line + q->len, s + i, run);
        q->len += run;
        i += run;
        if (run == 0) {
            qp_byte(q, s[i++]);
        }
    }
}

void encode_qp_break(struct encode_qp *q)
{
    unsigned char last = q->len > 0 ? q->line[q->len - 1] : 'x';
    if (last == ' ' || last == '\t') { /* §6.7 (3): a relay may take it away */
        q->len--;
        escape(q->line + q->len, '=', last);
        q->len += 3;
    }
    qp_line(q, "\n");
}

bool encode_qp_end(struct encode_qp *q)
{
    if (q->len > 0) {
        encode_qp_break(q);
    }
    bool ok = !q->failed;
    explicit_bzero(q, sizeof *q);
    return ok;
}

/* ---- base64 ---------------------------------------------------------------------------------- */

static const char base64_letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The four letters of three bytes, the first of them on top. */
static void base64_four(char out[4], uint32_t bits)
{
    out[0] = base64_letters[bits >> 18 & 63];
    out[1] = base64_letters[bits >> 12 & 63];
    out[2] = base64_letters[bits >> 6 & 63];
    out[3] = base64_letters[bits & 63];
}

/* Returns the end of what it wrote: 4 letters for each 3 bytes begun. */
static char *base64_run(char *out, const unsigned char *in, size_t len)
{
    for (; len >= 3; len -= 3, in += 3, out += 4) {
        base64_four(out, (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2]);
    }
    if (len > 0) {
        base64_four(out, (uint32_t)in[0] << 16 | (len == 2 ? (uint32_t)in[1] << 8 : 0));
        out[2] = len == 2 ? out[2] : '=';
        out[3] = '=';
        out += 4;
    }
    return out;
}

#ifdef __x86_64__
/* Twelve bytes at a time, for uploads: an envelope takes each byte through here twice, in longer than AES takes. The
 * code above is for the rest, and for other machines. */

/* In each group of 32 bits, bytes 1 0 2 1 of three: then its four sixes of bits can be moved into a byte each by two
 * multiplications of 16 bits, that is by shifts of 10 and 6 to the right and of 4 and 8 to the left. */
__attribute__((target("ssse3"))) static __m128i base64_twelve(__m128i in, __m128i order)
{
    in = _mm_shuffle_epi8(in, order);
    __m128i first =
        _mm_mulhi_epu16(_mm_and_si128(in, _mm_set1_epi32(0x0fc0fc00)), _mm_set1_epi32(0x04000040));
    __m128i second =
        _mm_mullo_epi16(_mm_and_si128(in, _mm_set1_epi32(0x003f03f0)), _mm_set1_epi32(0x01000010));
    __m128i six = _mm_or_si128(first, second);
    /* What to add to each for its letter: 0 for 26 … 51, 1 … 12 for 52 … 63, and 13 for 0 … 25. */
    const __m128i add = _mm_setr_epi8('a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
                                      '0' - 52, '0' - 52, '0' - 52, '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0);
    __m128i range = _mm_subs_epu8(six, _mm_set1_epi8(51));
    __m128i capital = _mm_and_si128(_mm_cmplt_epi8(six, _mm_set1_epi8(26)), _mm_set1_epi8(13));
    return _mm_add_epi8(six, _mm_shuffle_epi8(add, _mm_or_si128(range, capital)));
}

/* A whole line; the last twelve overlap those before. No byte beyond it is read. */
__attribute__((target("ssse3"))) static char *base64_line(char *out, const unsigned char in[BASE64_LINE_IN])
{
    enum { TWELVE = 12, SIXTEEN = 16 };
    const __m128i order = _mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10);
    const __m128i late = _mm_add_epi8(order, _mm_set1_epi8(SIXTEEN - TWELVE));
    for (int i = 0; i < 4; i++) {
        __m128i bytes = _mm_loadu_si128((const void *)(in + (ptrdiff_t)i * TWELVE));
        _mm_storeu_si128((void *)(out + (ptrdiff_t)i * SIXTEEN), base64_twelve(bytes, order));
    }
    __m128i last = _mm_loadu_si128((const void *)(in + BASE64_LINE_IN - SIXTEEN));
    _mm_storeu_si128((void *)(out + BASE64_LINE - 1 - SIXTEEN), base64_twelve(last, late));
    return out + BASE64_LINE - 1;
}

static bool base64_fast(void)
{
    return CPU_FEATURE_ACTIVE(
        SSSE3); /* as libc has found out; __builtin_cpu_supports() asks again, in 5 kB */
}
#else
static char *base64_line(char *out, const unsigned char in[BASE64_LINE_IN])
{
    return base64_run(out, in, BASE64_LINE_IN);
}

static bool base64_fast(void)
{
    return false;
}
#endif

bool encode_base64(struct sink *out, const void *bytes, size_t len)
{
    const unsigned char *in = bytes;
    bool fast = base64_fast();
    char block[BASE64_LINES * BASE64_LINE];
    bool ok = true;
    while (len > 0 && ok) {
        char *end = block;
        for (size_t line = 0; line < BASE64_LINES && len > 0; line++) {
            size_t n = len < BASE64_LINE_IN ? len : BASE64_LINE_IN;
            end = fast && n == BASE64_LINE_IN ? base64_line(end, in) : base64_run(end, in, n);
            *end++ = '\n';
            in += n;
            len -= n;
        }
        ok = out->put(out, block, (size_t)(end - block));
    }
    explicit_bzero(block, sizeof block);
    return ok;
}

static bool lines_flush(struct encode_lines *l)
{
    bool ok = l->len == 0 || encode_base64(l->out, l->block, l->len);
    l->len = 0;
    return ok;
}

static bool lines_put(struct sink *s, const void *bytes, size_t len)
{
    struct encode_lines *l = (struct encode_lines *)s;
    const unsigned char *at = bytes;
    while (len > 0) {
        size_t n = sizeof l->block - l->len < len ? sizeof l->block - l->len : len;
        memcpy(l->block + l->len, at, n);
        l->len += n;
        at += n;
        len -= n;
        if (l->len == sizeof l->block && !lines_flush(l)) {
            return false;
        }
    }
    return true;
}

void encode_lines_begin(struct encode_lines *l, struct sink *out)
{
    l->sink.put = lines_put;
    l->out = out;
    l->len = 0;
}

bool encode_lines_end(struct encode_lines *l)
{
    bool ok = lines_flush(l);
    explicit_bzero(l->block, sizeof l->block);
    return ok;
}

/* ---- header fields --------------------------------------------------------------------------- */

void encode_header(struct buf *out, const char *name, const char *value)
{
    size_t column = strlen(name) + 1;
    buf_fmt(out, "%s:", name);
    for (value += strspn(value, " "); *value != '\0'; value += strspn(value, " ")) {
        size_t word = strcspn(value, " ");
        if (column + 1 + word > HEADER_LINE) {
            buf_byte(out, '\n');
            column = 0;
        }
        buf_byte(out, ' ');
        buf_put(out, value, word);
        column += 1 + word;
        value += word;
    }
    buf_byte(out, '\n');
}

/* Can these bytes stand in a header line as they are? What looks like an encoded-word would be decoded by the
 * reader, and a word longer than a line cannot be folded. */
static bool header_plain(const char *text)
{
    size_t word = 0;
    for (const char *s = text; *s != '\0'; s++) {
        if (*s < ' ' || *s > '~' || (s[0] == '=' && s[1] == '?')) {
            return false;
        }
        word = *s == ' ' ? 0 : word + 1;
        if (word >= HEADER_LINE) {
            return false;
        }
    }
    return true;
}

/* What RFC 2047 §5 (3) lets stand for itself anywhere. */
static bool is_word_char(uint32_t c)
{
    return is_alnum(c) || c == '!' || c == '*' || c == '+' || c == '-' || c == '/';
}

/* The Q encoding, as GMime loses what follows a B-encoded word that ends in padding. Each word holds whole
 * characters (RFC 2047 §5); the space between two words is not part of the text (§2). used: of the line. Returns that of
 * the last one. */
static size_t put_encoded_words(struct buf *out, size_t used, const char *text)
{
    buf_str(out, WORD_START);
    used += strlen(WORD_START WORD_END);
    for (size_t left = strlen(text); left > 0;) {
        uint32_t c;
        size_t n = utf8_next(text, left, &c);
        size_t width = is_word_char(c) || c == ' ' ? 1 : 3 * n;
        if (used + width > WORD_MAX) {
            buf_str(out, WORD_END "\n " WORD_START);
            used = strlen(WORD_START WORD_END);
        }
        if (width == 1) {
            buf_byte(out, c == ' ' ? '_' : (unsigned char)c);
        } else {
            put_escaped(out, '=', text, n);
        }
        used += width;
        text += n;
        left -= n;
    }
    buf_str(out, WORD_END);
    return used;
}

void encode_header_text(struct buf *out, const char *name, const char *text)
{
    if (header_plain(text)) {
        encode_header(out, name, text);
        return;
    }
    buf_fmt(out, "%s: ", name);
    put_encoded_words(out, strlen(name) + strlen(": "), text);
    buf_byte(out, '\n');
}

/* Can it stand in quotes (RFC 5322 §3.2.4), where nothing in it is taken for an address or a comment, without an escape
 * and within a line? */
static bool is_quotable(const char *person)
{
    return header_plain(person) && strpbrk(person, "\"\\") == NULL && strlen(person) <= QUOTED_MAX;
}

void encode_header_mailbox(struct buf *out, const char *name, const char *person, const char *address)
{
    struct buf whole;
    if (person == NULL || *person == '\0') {
        encode_header(out, name, address);
    } else if (is_quotable(person)) {
        buf_init(&whole, strlen(person) + strlen(address) + sizeof "\"\" <>");
        buf_fmt(&whole, "\"%s\" <%s>", person, address);
        encode_header(out, name, buf_text(&whole) != NULL ? buf_text(&whole) : "");
        out->failed = out->failed || !buf_ok(&whole);
        buf_free(&whole);
    } else {
        buf_fmt(out, "%s: ", name);
        size_t used = put_encoded_words(out, strlen(name) + strlen(": "), person);
        buf_fmt(out, "%s <%s>\n", used + strlen(" <>") + strlen(address) > HEADER_LINE ? "\n" : "", address);
    }
}

/* ---- parameters ------------------------------------------------------------------------------ */

/* Safe in a quoted string, in an old reader that decodes RFC 2047 there, and in one that takes RFC 2231 apart
 * by its marks. */
static bool is_plain_char(uint32_t c)
{
    return c >= ' ' && c <= '~' && c != '"' && c != '\\' && c != '?' && c != '%' && c != '\'' && c != '*';
}

static bool parameter_plain(const char *value)
{
    size_t len = 0;
    while (is_plain_char((unsigned char)value[len])) {
        len++;
    }
    return len <= PARAMETER_PLAIN && value[len] == '\0';
}

/* What stands before the suffix, then the suffix, each as far as there is room. */
void encode_parameter_ascii(struct buf *out, const char *name, const char *value)
{
    char ascii[PARAMETER_PLAIN];
    size_t len = 0;
    size_t left = strlen(value);
    const char *dot = strrchr(value, '.');
    size_t suffix = dot != NULL && strlen(dot) <= PARAMETER_SUFFIX ? strlen(dot) : 0;
    while (left > 0) {
        uint32_t c;
        size_t n = utf8_next(value, left, &c);
        if (left <= suffix || len < sizeof ascii - suffix) {
            char shown = '_';
            if (is_plain_char(c)) {
                shown = (char)c;
            }
            ascii[len++] = shown;
        }
        value += n;
        left -= n;
    }
    buf_fmt(out, ";\n %s=\"", name);
    buf_put(out, ascii, len);
    buf_byte(out, '"');
}

static bool is_attribute_char(uint32_t c) /* RFC 2231 §7, a little stricter */
{
    return is_alnum(c) || c == '-' || c == '.' || c == '_';
}

/* RFC 2231 §4, in pieces (§3) where one line is not enough; each of whole characters, for readers that decode
 * before they join. */
static void parameter_extended(struct buf *out, const char *name, const char *value)
{
    size_t left = strlen(value);
    bool pieces = left * 3 > PARAMETER_PIECE;
    unsigned piece = 0;
    size_t room = 0;
    while (left > 0) {
        uint32_t c;
        size_t n = utf8_next(value, left, &c);
        size_t width = is_attribute_char(c) ? 1 : 3 * n;
        if (room < width) {
            buf_fmt(out, ";\n %s*", name);
            if (pieces) {
                buf_fmt(out, "%u*", piece);
            }
            buf_str(out, piece == 0 ? "=UTF-8''" : "=");
            piece++;
            room = PARAMETER_PIECE;
        }
        if (width == 1) {
            buf_byte(out, (unsigned char)c);
        } else {
            put_escaped(out, '%', value, n);
        }
        room -= width;
        value += n;
        left -= n;
    }
}

void encode_parameter(struct buf *out, const char *name, const char *value)
{
    if (parameter_plain(value)) {
        buf_fmt(out, ";\n %s=\"%s\"", name, value);
    } else {
        parameter_extended(out, name, value);
    }
}
