/* GnuTLS is loaded with libmicrohttpd, for whose own HTTPS alone it serves: TLS is BearSSL's here, and libmicrohttpd
 * sees clear text. Left to itself it makes ready in every start, which costs a megabyte. */

#include <gnutls/gnutls.h>

/* It asks the program for this. */
GNUTLS_SKIP_GLOBAL_INIT

/* libmicrohttpd calls this as it is loaded, and the program's comes before that of a library. */
int gnutls_global_init(void)
{
    return 0;
}
