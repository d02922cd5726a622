/* What browsers send, as UTF-8: the labels of the WHATWG Encoding Standard over the converters of iconv. */

#include "bridge.h"

#include <errno.h>
#include <iconv.h>
#include <string.h>

enum {
    LABEL_MAX = 24, /* no label of the standard is longer */
    CHUNK = 512,    /* output asked of iconv at a time */
    HALF = 0x80,    /* of all bytes. Below it each encoding of one byte a character is ASCII */
};

/* The names and labels of the standard (§4.2), less what a form is never sent in: UTF-16, "replacement" and
 * x-user-defined. UTF-8 and windows-1252 need no converter. Where the standard and a converter of the same
 * name differ, the converter is the one that reads what browsers write. */
static const struct encoding {
    const char *name;
    const char *converter; /* NULL: done here */
    const char *labels;    /* each between spaces */
    const char *second;    /* for what it does not know, or NULL */
    long (*japanese)(const struct japanese *, const unsigned char *, size_t, struct buf *); /* or NULL */
} encodings[] = {
    {.name = "UTF-8", .labels = " unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8 "},
    {.name = "windows-1252",
     .labels =
         " ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591"
         " iso_8859-1 iso_8859-1:1987 l1 latin1 us-ascii windows-1252 x-cp1252 "},
    {.name = "IBM866", .converter = "IBM866", .labels = " 866 cp866 csibm866 ibm866 "},
    {.name = "ISO-8859-2",
     .converter = "ISO-8859-2",
     .labels = " csisolatin2 iso-8859-2 iso-ir-101 iso8859-2 iso88592 iso_8859-2 iso_8859-2:1987 l2 latin2 "},
    {.name = "ISO-8859-3",
     .converter = "ISO-8859-3",
     .labels = " csisolatin3 iso-8859-3 iso-ir-109 iso8859-3 iso88593 iso_8859-3 iso_8859-3:1988 l3 latin3 "},
    {.name = "ISO-8859-4",
     .converter = "ISO-8859-4",
     .labels = " csisolatin4 iso-8859-4 iso-ir-110 iso8859-4 iso88594 iso_8859-4 iso_8859-4:1988 l4 latin4 "},
    {.name = "ISO-8859-5",
     .converter = "ISO-8859-5",
     .labels = " csisolatincyrillic cyrillic iso-8859-5 iso-ir-144 iso8859-5 iso88595 iso_8859-5"
               " iso_8859-5:1988 "},
    {.name = "ISO-8859-6",
     .converter = "ISO-8859-6",
     .labels = " arabic asmo-708 csiso88596e csiso88596i csisolatinarabic ecma-114 iso-8859-6 iso-8859-6-e"
               " iso-8859-6-i iso-ir-127 iso8859-6 iso88596 iso_8859-6 iso_8859-6:1987 "},
    {.name = "ISO-8859-7",
     .converter = "ISO-8859-7",
     .labels = " csisolatingreek ecma-118 elot_928 greek greek8 iso-8859-7 iso-ir-126 iso8859-7 iso88597"
               " iso_8859-7 iso_8859-7:1987 sun_eu_greek "},
    {.name = "ISO-8859-8",
     .converter = "ISO-8859-8",
     .labels = " csiso88598e csisolatinhebrew hebrew iso-8859-8 iso-8859-8-e iso-ir-138 iso8859-8 iso88598"
               " iso_8859-8 iso_8859-8:1988 visual "},
    {.name = "ISO-8859-8-I", .converter = "ISO-8859-8", .labels = " csiso88598i iso-8859-8-i logical "},
    {.name = "ISO-8859-10",
     .converter = "ISO-8859-10",
     .labels = " csisolatin6 iso-8859-10 iso-ir-157 iso8859-10 iso885910 l6 latin6 "},
    {.name = "ISO-8859-13", .converter = "ISO-8859-13", .labels = " iso-8859-13 iso8859-13 iso885913 "},
    {.name = "ISO-8859-14", .converter = "ISO-8859-14", .labels = " iso-8859-14 iso8859-14 iso885914 "},
    {.name = "ISO-8859-15",
     .converter = "ISO-8859-15",
     .labels = " csisolatin9 iso-8859-15 iso8859-15 iso885915 iso_8859-15 l9 "},
    {.name = "ISO-8859-16", .converter = "ISO-8859-16", .labels = " iso-8859-16 "},
    {.name = "KOI8-R", .converter = "KOI8-R", .labels = " cskoi8r koi koi8 koi8-r koi8_r "},
    {.name = "KOI8-U", .converter = "KOI8-U", .labels = " koi8-ru koi8-u "},
    {.name = "macintosh", .converter = "MACINTOSH", .labels = " csmacintosh mac macintosh x-mac-roman "},
    {.name = "windows-874",
     .converter = "CP874",
     .labels = " dos-874 iso-8859-11 iso8859-11 iso885911 tis-620 windows-874 "},
    {.name = "windows-1250", .converter = "CP1250", .labels = " cp1250 windows-1250 x-cp1250 "},
    {.name = "windows-1251", .converter = "CP1251", .labels = " cp1251 windows-1251 x-cp1251 "},
    {.name = "windows-1253", .converter = "CP1253", .labels = " cp1253 windows-1253 x-cp1253 "},
    {.name = "windows-1254",
     .converter = "CP1254",
     .labels = " cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9 iso_8859-9:1989 l5"
               " latin5 windows-1254 x-cp1254 "},
    {.name = "windows-1255", .converter = "CP1255", .labels = " cp1255 windows-1255 x-cp1255 "},
    {.name = "windows-1256", .converter = "CP1256", .labels = " cp1256 windows-1256 x-cp1256 "},
    {.name = "windows-1257", .converter = "CP1257", .labels = " cp1257 windows-1257 x-cp1257 "},
    {.name = "windows-1258", .converter = "CP1258", .labels = " cp1258 windows-1258 x-cp1258 "},
    {.name = "x-mac-cyrillic", .converter = "MAC-UK", .labels = " x-mac-cyrillic x-mac-ukrainian "},
    {.name = "GBK",
     .converter = "GB18030",
     .labels = " chinese csgb2312 csiso58gb231280 gb2312 gb_2312 gb_2312-80 gbk iso-ir-58 x-gbk "},
    {.name = "gb18030", .converter = "GB18030", .labels = " gb18030 "},
    {.name = "Big5",
     .converter = "BIG5-HKSCS",
     .second = "BIG5",
     .labels = " big5 big5-hkscs cn-big5 csbig5 x-x-big5 "},
    {.name = "EUC-JP", .japanese = japanese_from_euc, .labels = " cseucpkdfmtjapanese euc-jp x-euc-jp "},
    {.name = "ISO-2022-JP", .japanese = japanese_from_2022, .labels = " csiso2022jp iso-2022-jp "},
    {.name = "Shift_JIS",
     .converter = "CP932",
     .labels = " csshiftjis ms932 ms_kanji shift-jis shift_jis sjis windows-31j x-sjis "},
    {.name = "EUC-KR",
     .converter = "CP949",
     .labels = " cseuckr csksc56011987 euc-kr iso-ir-149 korean ks_c_5601-1987 ks_c_5601-1989 ksc5601"
               " ksc_5601 windows-949 "},
};

/* How each is read, from charset_open() on. */
static struct reader {
    bool open;
    bool single;           /* each byte is a character, */
    uint16_t upper[HALF];  /* from HALF on these; 0: none */
    iconv_t cd, second_cd; /* otherwise */
} readers[COUNT(encodings)];

static struct japanese japanese;

/* "get an encoding" (Encoding Standard §4.2) */
static const struct encoding *find(const char *label, size_t len)
{
    struct span name = text_trim((struct span){label, len}, TEXT_SPACES "\f");
    if (name.len == 0 || name.len > LABEL_MAX) {
        return NULL;
    }
    char key[LABEL_MAX + 3] = " ";
    for (size_t i = 0; i < name.len; i++) {
        char c = name.at[i];
        if (c <= ' ') { /* a space would match two labels, a NUL the start of one */
            return NULL;
        }
        key[i + 1] = text_lower(c);
    }
    key[name.len + 1] = ' ';
    for (size_t i = 0; i < COUNT(encodings); i++) {
        const struct encoding *e = &encodings[i];
        if (strstr(e->labels, key) != NULL) {
            bool always = e->converter == NULL && e->japanese == NULL;
            return always || readers[i].open ? e : NULL;
        }
    }
    return NULL;
}

/* The one character of the basic plane that these bytes are; 0: none. */
static uint16_t one_character(iconv_t cd, const unsigned char *bytes, size_t len)
{
    char in[4], out[8], *from = in, *to = out;
    size_t room = sizeof out;
    uint32_t c;
    memcpy(in, bytes, len);
    iconv(cd, NULL, NULL, NULL, NULL);
    if (iconv(cd, &from, &len, &to, &room) == (size_t)-1 || room == sizeof out ||
        utf8_next(out, sizeof out - room, &c) != sizeof out - room || c > 0xFFFF) {
        return 0;
    }
    return (uint16_t)c;
}

static void close_converter(iconv_t cd)
{
    if (cd != (iconv_t)-1) {
        iconv_close(cd);
    }
}

static bool fill_japanese(void)
{
    iconv_t shift_jis = iconv_open("UTF-8", "CP932"), euc = iconv_open("UTF-8", "EUC-JP-MS");
    bool both = shift_jis != (iconv_t)-1 && euc != (iconv_t)-1;
    for (size_t i = 0; both && i < JAPANESE_CELLS; i++) {
        unsigned char bytes[2], three[3] = {0x8F};
        japanese_cell(i, bytes, three + 1);
        japanese.jis0208[i] = one_character(shift_jis, bytes, sizeof bytes);
        japanese.jis0212[i] = one_character(euc, three, sizeof three);
    }
    close_converter(shift_jis);
    close_converter(euc);
    return both;
}

/* False where a byte may be the first of several, or is held back to be composed with the next. */
static bool fill_upper(struct reader *r)
{
    for (unsigned i = 0; i < HALF; i++) {
        unsigned char byte = (unsigned char)(HALF + i);
        errno = 0;
        r->upper[i] = one_character(r->cd, &byte, 1);
        if (r->upper[i] == 0 && errno != EILSEQ) {
            return false;
        }
    }
    return true;
}

static void open_reader(struct reader *r, const struct encoding *e)
{
    r->cd = iconv_open("UTF-8", e->converter);
    r->open = r->cd != (iconv_t)-1;
    r->single = r->open && fill_upper(r);
    if (r->single) {
        iconv_close(r->cd);
    }
    r->second_cd = e->second != NULL ? iconv_open("UTF-8", e->second) : (iconv_t)-1;
}

/* A converter is a library, which every role carries: what a table can hold is asked of it once, then it is closed. */
void charset_open(void)
{
    bool filled = fill_japanese();
    for (size_t i = 0; i < COUNT(encodings); i++) {
        if (encodings[i].japanese != NULL) {
            readers[i].open = filled;
        } else if (encodings[i].converter != NULL && !readers[i].open) {
            open_reader(&readers[i], &encodings[i]);
        }
    }
}

const char *charset_name(const char *label, size_t len)
{
    const struct encoding *e = find(label, len);
    return e == NULL ? NULL : e->name;
}

static void put(struct buf *out, uint32_t c)
{
    unsigned char utf8[4];
    buf_put(out, utf8, utf8_bytes(c, utf8));
}

/* The length of the well-formed character at p, or 0. */
static size_t well_formed(const unsigned char *p, size_t len)
{
    uint32_t c;
    size_t n = utf8_next(p, len, &c);
    return c == UTF8_REPLACEMENT && n == 1 ? 0 : n;
}

bool charset_is_utf8(const void *bytes, size_t len)
{
    const unsigned char *p = bytes;
    for (size_t at = utf8_plain(p, len); at < len; at += utf8_plain(p + at, len - at)) {
        size_t n = well_formed(p + at, len - at);
        if (n == 0) {
            return false;
        }
        at += n;
    }
    return true;
}

static long from_utf8(const unsigned char *in, size_t len, struct buf *out)
{
    long wrong = 0;
    for (size_t at = 0; at < len;) {
        size_t n = well_formed(in + at, len - at);
        if (n == 0) {
            put(out, UTF8_REPLACEMENT);
            wrong++;
            at++;
        } else {
            buf_put(out, in + at, n);
            at += n;
        }
    }
    return wrong;
}

/* Every byte means something: the standard gives the five that Windows leaves open to the C1 controls. */
static void from_windows_1252(const unsigned char *in, size_t len, struct buf *out)
{
    static const uint16_t upper[32] = {
        0x20AC, 0x0081, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
        0x2039, 0x0152, 0x008D, 0x017D, 0x008F, 0x0090, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
        0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x009D, 0x017E, 0x0178,
    };
    for (size_t i = 0; i < len; i++) {
        put(out, in[i] >= 0x80 && in[i] < 0xA0 ? upper[in[i] - 0x80] : in[i]);
    }
}

static long from_table(const uint16_t upper[HALF], const unsigned char *in, size_t len, struct buf *out)
{
    long wrong = 0;
    for (size_t i = 0; i < len; i++) {
        uint32_t c = in[i] < HALF ? in[i] : upper[in[i] - HALF];
        bool known = c != 0 || in[i] == 0;
        put(out, known ? c : UTF8_REPLACEMENT);
        wrong += !known;
    }
    return wrong;
}

/* One call of iconv into the room that is left, at most CHUNK. in NULL: what the converter holds back. */
static bool step(iconv_t cd, char **in, size_t *in_left, struct buf *out)
{
    size_t room = out->max - out->len < CHUNK ? out->max - out->len : CHUNK;
    char *at = buf_room(out, room);
    if (at == NULL) {
        out->failed = true;
        errno = ENOMEM;
        return false;
    }
    size_t left = room;
    bool done = iconv(cd, in, in_left, &at, &left) != (size_t)-1;
    out->len += room - left;
    if (!done && errno == E2BIG && left == room) { /* no character fits into what the ceiling leaves */
        out->failed = true;
    }
    return done;
}

static long from_converter(const struct encoding *e, const struct reader *r, const unsigned char *in,
                           size_t len, struct buf *out)
{
    /* iconv takes char ** for historical reasons and does not write through it */
    char *at = (char *)(uintptr_t)in;
    size_t left = len;
    long wrong = 0;
    iconv(r->cd, NULL, NULL, NULL, NULL); /* the one before may have ended half-way */
    while (left > 0 && buf_ok(out)) {
        if (step(r->cd, &at, &left, out) || errno == E2BIG) {
            continue;
        }
        if (errno == EINVAL) { /* cut off inside a character */
            left = 0;
        } else if (errno == EILSEQ) {
            bool euro = (unsigned char)at[0] == 0x80 && strcmp(e->name, "GBK") == 0;
            uint16_t other = r->second_cd != (iconv_t)-1 && left >= 2
                                 ? one_character(r->second_cd, (const unsigned char *)at, 2)
                                 : 0;
            if (other != 0) {
                at += 2;
                left -= 2;
                put(out, other);
                continue;
            }
            at++;
            left--;
            if (euro) { /* browsers write it so (§10.2.2), the converter does not know it */
                put(out, 0x20AC);
                continue;
            }
        } else {
            break; /* no room: out has failed */
        }
        put(out, UTF8_REPLACEMENT);
        wrong++;
    }
    while (buf_ok(out) && !step(r->cd, NULL, NULL, out) && errno == E2BIG) {
    }
    return wrong;
}

long charset_to_utf8(const char *label, size_t label_len, const void *in, size_t len, struct buf *out)
{
    const struct encoding *e = find(label, label_len);
    if (e == NULL) {
        return -1;
    }
    if (len == 0) {
        return 0;
    }
    if (e->japanese != NULL) {
        return e->japanese(&japanese, in, len, out);
    }
    if (e->converter != NULL) {
        const struct reader *r = &readers[e - encodings];
        return r->single ? from_table(r->upper, in, len, out) : from_converter(e, r, in, len, out);
    }
    if (strcmp(e->name, "UTF-8") == 0) {
        return from_utf8(in, len, out);
    }
    from_windows_1252(in, len, out);
    return 0;
}
