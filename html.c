/* Text becomes HTML: the only way into a page for what visitors typed. Pure. */

#include "bridge.h"

#include <string.h>

/* U+2400 to U+241F, the pictures of the control characters, three bytes each. */
static const char pictures[] =
    "\u2400\u2401\u2402\u2403\u2404\u2405\u2406\u2407\u2408\u2409\u240A\u240B\u240C\u240D\u240E\u240F"
    "\u2410\u2411\u2412\u2413\u2414\u2415\u2416\u2417\u2418\u2419\u241A\u241B\u241C\u241D\u241E\u241F";

/* What stands for the character at p, with the bytes it takes in used; empty: it stands for itself. */
static struct span stand_in(const unsigned char *p, size_t left, size_t *used)
{
    *used = 1;
    switch (*p) {
    case '&': return (struct span){"&amp;", 5};
    case '<': return (struct span){"&lt;", 4};
    case '>': return (struct span){"&gt;", 4};
    case '"': return (struct span){"&#34;", 5};
    case '\'': return (struct span){"&#39;", 5};
    case '\t':
    case '\n': return (struct span){NULL, 0};
    case '\r': *used = left > 1 && p[1] == '\n' ? 2 : 1; return (struct span){"\n", 1};
    case 0x7F: return (struct span){"\u2421", 3};
    case 0xC2: /* and a byte up to 9F: U+0080 to U+009F, controls without a picture */
        if (left > 1 && p[1] >= 0x80 && p[1] < 0xA0) {
            *used = 2;
            return (struct span){"\uFFFD", 3};
        }
        return (struct span){NULL, 0};
    default: return *p < 0x20 ? (struct span){pictures + (size_t)3 * *p, 3} : (struct span){NULL, 0};
    }
}

void html_text(struct buf *out, struct span text)
{
    const unsigned char *bytes = (const unsigned char *)text.at;
    size_t written = 0;
    if (text.len == 0) {
        return; /* text.at may be NULL */
    }
    for (size_t i = 0; i < text.len;) {
        size_t used;
        struct span other = stand_in(bytes + i, text.len - i, &used);
        if (other.len > 0) {
            buf_put(out, bytes + written, i - written);
            buf_put(out, other.at, other.len);
            written = i + used;
        }
        i += used;
    }
    buf_put(out, bytes + written, text.len - written);
}

void html_str(struct buf *out, const char *text)
{
    html_text(out, text_span(text));
}

void html_sentence(struct buf *out, const char *text, struct span arg)
{
    const char *gap = strstr(text, "{}");
    if (gap == NULL) {
        html_str(out, text);
        return;
    }
    html_text(out, (struct span){text, (size_t)(gap - text)});
    html_text(out, arg);
    html_str(out, gap + 2);
}

void html_paragraph(struct buf *out, const char *class, const char *text)
{
    buf_str(out, "<p");
    if (class != NULL) {
        buf_fmt(out, " class=\"%s\"", class);
    }
    buf_byte(out, '>');
    html_str(out, text);
    buf_str(out, "</p>\n");
}

void html_attribute(struct buf *out, const char *name, struct span value)
{
    buf_fmt(out, " %s=\"", name);
    html_text(out, value);
    buf_byte(out, '"');
}
