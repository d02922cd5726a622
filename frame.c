/*
 * What every page of ours begins and ends with, and how it looks. Pure.
 *
 * The style sheet has no left and no right: a page in a script that runs from right to left is its mirror image.
 */

#include "bridge.h"

#include <string.h>

/* Colours: every text pair reaches 4.5:1 and every control edge 3:1 in both schemes (WCAG 2.2, 1.4.3
 * and 1.4.11). */
static const char style[] =
    ":root{color-scheme:light dark;--page:#f3f4f1;--card:#fff;--ink:#1c2321;--soft:#55605c;"
    "--line:#dde1dd;--edge:#7b8682;--main:#0b6550;--on:#fff;--bad:#a5231c;--tint:#fcf0ee}\n"
    "@media(prefers-color-scheme:dark){:root{--page:#111514;--card:#1a201f;--ink:#e8edeb;--soft:#a6b2ad;"
    "--line:#303936;--edge:#7f8c87;--main:#7cd9bd;--on:#06231a;--bad:#ff9f94;--tint:#2f1d1b}}\n"
    "*{box-sizing:border-box}\n"
    "html{-webkit-text-size-adjust:100%;text-size-adjust:100%}\n"
    "body{margin:0;background:var(--page);color:var(--ink);"
    "font:1rem/1.55 system-ui,-apple-system,\"Segoe UI\",Roboto,\"Helvetica Neue\",\"Noto Sans\",sans-serif;"
    "overflow-wrap:anywhere}\n"
    "main{max-width:38rem;margin:0 auto;padding:2rem 1.25rem 3rem;background:var(--card);"
    "min-height:100vh}\n"
    "@media(min-width:42rem){main{min-height:0;margin:4rem auto;padding:2.75rem 3rem 3rem;"
    "border:1px solid var(--line);border-radius:.9rem;box-shadow:0 1px 4px #0001}}\n"
    "svg{display:block;width:3rem;height:3rem;margin:0 0 1.25rem;fill:none;stroke:var(--main);"
    "stroke-width:2.5;stroke-linecap:round;stroke-linejoin:round}\n"
    "svg.no{stroke:var(--bad)}\n"
    "h1{margin:0 0 .75rem;font-size:clamp(1.65rem,1.4rem + 1.2vw,2.1rem);line-height:1.2;"
    "letter-spacing:-.015em;text-wrap:balance}\n"
    "h2{margin:0 0 .4rem;font-size:1.05rem}\n"
    "p{margin:0 0 1rem}\n"
    ".kicker{margin:0 0 .35rem;color:var(--soft);font-size:.9rem;font-weight:600}\n"
    ".soft,small{color:var(--soft);font-size:.9rem;font-weight:400}\n"
    "a{color:var(--main);text-underline-offset:.15em}\n"
    "main>:last-child{margin-bottom:0}\n"
    ".receipt{margin:1.75rem 0;padding:1.1rem 1.25rem 1.2rem;border:1px solid var(--line);"
    "border-radius:.6rem;background:var(--page)}\n"
    ".receipt p{margin:0}\n"
    ".ref{margin:.15rem 0 .3rem!important;"
    "font:600 clamp(1.5rem,7vw,2rem)/1.3 ui-monospace,Menlo,Consolas,\"DejaVu Sans Mono\",monospace;"
    "overflow-wrap:normal;user-select:all}\n"
    "form{margin:1.75rem 0 0}\n"
    ".list{padding:1rem 1.25rem;border-inline-start:.3rem solid var(--bad);"
    "border-radius:.3rem;background:var(--tint)}\n"
    ".list ul{margin:0;padding-inline-start:1.2rem}\n"
    ".list li{padding:.15rem 0}\n"
    ".list a,.wrong{color:var(--bad)}\n"
    ".row{margin:0 0 1.35rem}\n"
    "label{display:block;margin:0 0 .3rem;font-weight:600}\n"
    ".row .soft,.wrong{margin:0 0 .4rem;line-height:1.4}\n"
    ".wrong{font-size:.95rem;font-weight:600}\n"
    "input,select,textarea{display:block;width:100%;min-height:2.9rem;padding:.6rem .75rem;"
    "border:1px solid var(--edge);border-radius:.45rem;background:var(--card);color:inherit;font:inherit}\n"
    "textarea{resize:vertical;line-height:1.5}\n"
    "[aria-invalid]{border:2px solid var(--bad)}\n"
    "[type=file]{padding:.5rem .6rem;font-size:.95rem}\n"
    "::file-selector-button{margin-inline-end:.75rem;padding:.3rem .8rem;border:1px solid var(--edge);"
    "border-radius:.35rem;background:var(--page);color:inherit;font:inherit;cursor:pointer}\n"
    "[type=number]{max-width:8rem}\n"
    ".check{display:flex;gap:.75rem;align-items:flex-start}\n"
    ".check label{margin:0;font-weight:400}\n"
    "[type=checkbox]{flex:none;width:1.5rem;min-height:1.5rem;margin:0;accent-color:var(--main)}\n"
    "button{width:100%;min-height:3rem;margin:.4rem 0 0;padding:.7rem 1.75rem;"
    "border:1px solid transparent;border-radius:.45rem;background:var(--main);color:var(--on);"
    "font:inherit;font-weight:600;cursor:pointer}\n"
    "@media(min-width:42rem){button{width:auto}}\n"
    "button:hover{filter:brightness(1.1)}\n"
    ":focus-visible{outline:3px solid var(--main);outline-offset:2px}\n";

static const char mark_done[] =
    "<svg viewBox=\"0 0 48 48\" aria-hidden=\"true\"><circle cx=\"24\" cy=\"24\" r=\"21\"/>"
    "<path d=\"M15 24.5l6.5 6.5L33.5 18\"/></svg>\n";
static const char mark_stop[] =
    "<svg class=\"no\" viewBox=\"0 0 48 48\" aria-hidden=\"true\"><circle cx=\"24\" cy=\"24\" "
    "r=\"21\"/><path d=\"M24 14v12M24 33v.6\"/></svg>\n";

const char *frame_style(size_t *len)
{
    *len = sizeof style - 1;
    return style;
}

void frame_hash(struct buf *out, const void *bytes, size_t len)
{
    unsigned char hash[br_sha256_SIZE];
    hash_digest(bytes, len, hash);
    buf_str(out, "'sha256-");
    base64_put(out, hash, sizeof hash, BASE64);
    buf_str(out, "'");
}

void frame_open(struct buf *out, const struct page_style *s, enum frame_mark mark, struct span kicker,
                struct span heading)
{
    buf_fmt(out, "<!DOCTYPE html>\n<html lang=\"%s\" dir=\"%s\">\n", words_tag(s->language),
            words_dir(s->language));
    /* Under "no-referrer" a browser posts a form with "Origin: null" (Fetch, "append a request Origin
     * header"): our own pages must be recognisable when they post to us, and still tell nobody else anything.
     */
    buf_str(out, "<head>\n<meta charset=\"utf-8\">\n"
                 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                 "<meta name=\"referrer\" content=\"same-origin\">\n"
                 "<meta name=\"robots\" content=\"noindex\">\n<title>");
    html_text(out, heading);
    if (kicker.len > 0) {
        buf_str(out, " \u2013 ");
        html_text(out, kicker);
    }
    buf_str(out, "</title>\n<style>");
    buf_put(out, style, sizeof style - 1);
    buf_str(out, "</style>\n</head>\n<body>\n<main>\n");
    buf_str(out, mark == MARK_DONE ? mark_done : mark == MARK_STOP ? mark_stop : "");
    if (kicker.len > 0) {
        buf_str(out, "<p class=\"kicker\">");
        html_text(out, kicker);
        buf_str(out, "</p>\n");
    }
    buf_str(out, "<h1>");
    html_text(out, heading);
    buf_str(out, "</h1>\n");
}

void frame_close(struct buf *out)
{
    buf_str(out, "</main>\n</body>\n</html>\n");
}

void frame_back(struct buf *out, const struct page_style *s)
{
    const char *origin = s->form->origins[0], *host = strstr(origin, "://");
    host = host == NULL ? origin : host + 3;
    html_sentence(out, words(s->language, W_BACK), text_span(host));
}

void frame_way_back(struct buf *out, const struct page_style *s)
{
    if (s->form == NULL || s->form->origin_count == 0) {
        return;
    }
    buf_str(out, "<p><a href=\"");
    html_str(out, s->form->origins[0]);
    buf_str(out, "/\">");
    frame_back(out, s);
    buf_str(out, "</a></p>\n");
}
