# make                    the program
# make test               all that a change must pass; installs what the tests need
# make unit e2e fuzz      parts of it
# make lint               formatters and static analysers
# make asan, valgrind     the tests again, under the sanitizers or valgrind
# make bench              measurements
# make STATIC=1           ./formbridge-static, with every library but libc inside, for a server with nothing installed
# make install            PREFIX=/usr/local DESTDIR=; never overwrites a config
# make dist               a release tarball, checked by building from it

CC      ?= cc
PREFIX  ?= /usr/local
CFLAGS  ?= -g
LDFLAGS ?=
OBJCOPY ?= objcopy

# Small, and fast where each byte of a submission passes.
OPTIMIZE = -Os
FAST = buf encode form frame gate mime multipart text urlencoded utf8

VERSION := $(shell sed -n 's/^.define FORMBRIDGE_VERSION "\(.*\)"/\1/p' bridge.h)

WARN = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Werror
HARD = -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
# Nothing unwinds; a debugger has the tables in the file of debug information.
SMALL = -ffunction-sections -fno-asynchronous-unwind-tables -fno-unwind-tables
CPPFLAGS += -D_GNU_SOURCE -I.
LDHARD = -pie -Wl,-z,relro,-z,now,-z,pack-relative-relocs -Wl,--as-needed,--gc-sections
LIBS = -l:libbearssl.a -lmicrohttpd -linih -lseccomp -lcrypt -lhogweed -lnettle -lgmp -lpthread

# SANITIZE=1: AddressSanitizer and UBSan. The sandbox stays on, and also allows the calls that the sanitizers
# themselves make. A build for tests, never for a server.
ifdef SANITIZE
HARD = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -fPIE
OPTIMIZE = -O2
SMALL =
OBJCOPY = :
CPPFLAGS += -DSANDBOX_SANITIZE
endif

# STATIC=1: all libraries but libc, which resolves names with modules of its own and does not like to be inside.
ifdef STATIC
PROGRAM ?= formbridge-static
STUBS = $(BUILD)/static/gnutls.o
LIBS = -l:libbearssl.a -l:libmicrohttpd.a -l:libinih.a -l:libseccomp.a -l:libcrypt.a -l:libhogweed.a -l:libnettle.a \
    -l:libgmp.a -lpthread
endif

BUILD ?= build
PROGRAM ?= formbridge
SRC = $(filter-out bridge.c,$(wildcard *.c))
OBJ = $(SRC:%.c=$(BUILD)/%.o)
UNIT = $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/*.c))
FUZZ = $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/*.c))

all: $(PROGRAM)

# What a debugger wants goes into $(PROGRAM).debug, where it finds it by itself.
$(PROGRAM): $(BUILD)/bridge.o $(OBJ) $(STUBS)
	$(CC) $(CFLAGS) $(HARD) $(LDHARD) $(LDFLAGS) -o $@ $^ $(LIBS)
	$(OBJCOPY) --only-keep-debug $@ $@.debug
	$(OBJCOPY) --strip-all --add-gnu-debuglink=$@.debug $@

$(BUILD)/%.o: %.c bridge.h Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(OPTIMIZE) $(CFLAGS) -std=gnu11 $(WARN) $(HARD) $(SMALL) -c -o $@ $<

$(FAST:%=$(BUILD)/%.o): OPTIMIZE = -O2

$(BUILD)/script.o $(BUILD)/fuzzed/script.o: web/form.js

# For valgrind, which knows no Landlock: the same objects with a stand-in for sandbox.c.
formbridge-valgrind: $(BUILD)/bridge.o $(filter-out $(BUILD)/sandbox.o,$(OBJ)) tests/tools/no_sandbox.c
	$(CC) $(CPPFLAGS) $(CFLAGS) -std=gnu11 $(WARN) $(HARD) $(LDHARD) $(LDFLAGS) -o $@ $^ $(LIBS)

# ---- tests

$(BUILD)/unit/%: tests/unit/%.c $(OBJ) $(wildcard tests/*.h)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -std=gnu11 $(WARN) $(HARD) $(LDFLAGS) -o $@ $< $(OBJ) -lcmocka $(LIBS)

# It slows each flush down, and counts waits.
$(BUILD)/unit/commit: LDFLAGS += -Wl,--wrap=fsync,--wrap=syncfs,--wrap=pthread_cond_timedwait

# It has tls_cache.c in itself, with another clock.
$(BUILD)/unit/session: OBJ := $(filter-out $(BUILD)/tls_cache.o,$(OBJ))

# What is renamed into a directory while it is read may not be seen there.
$(BUILD)/unit/deliver: LDFLAGS += -Wl,--wrap=readdir

# Its resolver hangs when the test says so, and time passes.
$(BUILD)/unit/lookup: LDFLAGS += -Wl,--wrap=getaddrinfo,--wrap=clock_gettime,--wrap=pthread_cond_clockwait

# They fail each allocation in turn.
$(BUILD)/unit/form_memory: LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=reallocarray
$(BUILD)/unit/smime_memory: LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc

# It asks OpenSSL too, sees what is freed, and has one of Nettle's functions fail.
$(BUILD)/unit/curve: LDFLAGS += -Wl,--wrap=free,--wrap=nettle_curve25519_mul_g,--wrap=br_ecdsa_sign_asn1_get_default
$(BUILD)/unit/curve: LIBS += -lcrypto

# It counts random bytes, sees what is freed, and has Nettle's function fail.
$(BUILD)/unit/rsa: LDFLAGS += -Wl,--wrap=free,--wrap=getrandom,--wrap=nettle_rsa_pkcs1_sign_tr

# libFuzzer is clang's. All of the program has its coverage counted.
FUZZFLAGS = -O1 -g -std=gnu11 -fno-sanitize-recover=all -fno-omit-frame-pointer
$(BUILD)/fuzzed/%.o: %.c bridge.h
	@mkdir -p $(@D)
	clang $(CPPFLAGS) $(FUZZFLAGS) -fsanitize=fuzzer-no-link,address,undefined -c -o $@ $<

$(BUILD)/fuzz/%: tests/fuzz/%.c $(SRC:%.c=$(BUILD)/fuzzed/%.o) $(wildcard tests/*.h)
	@mkdir -p $(@D)
	clang $(CPPFLAGS) $(FUZZFLAGS) -fsanitize=fuzzer,address,undefined -o $@ $< $(filter %.o,$^) $(LIBS)

# What the tools of the end-to-end tests are linked with.
$(BUILD)/all.a: $(OBJ)
	rm -f $@ && $(AR) rcs $@ $^
libs:
	@echo $(LIBS)

unit: $(UNIT)
fuzzers: $(FUZZ)

test:
	tests/run

asan:
	tests/run asan

valgrind:
	tests/run valgrind

fuzz:
	tests/run fuzz

e2e: $(PROGRAM)
	/usr/bin/python3 -m pytest -q tests/e2e

lint:
	tests/lint

bench: $(PROGRAM)
	bench/install-deps
	bench/run
	bench/scale
	bench/lots
	bench/backlog

# ---- install and release

install: $(PROGRAM)
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/share/man/man8 $(DESTDIR)$(PREFIX)/share/man/man5 \
	    $(DESTDIR)$(PREFIX)/share/doc/formbridge $(DESTDIR)/etc/formbridge
	install -m 755 $(PROGRAM) $(DESTDIR)$(PREFIX)/sbin/formbridge
	install -m 644 doc/formbridge.8 $(DESTDIR)$(PREFIX)/share/man/man8/formbridge.8
	install -m 644 doc/formbridge.ini.5 $(DESTDIR)$(PREFIX)/share/man/man5/formbridge.ini.5
	install -m 644 README doc/MIGRATING config.ini.example CHANGES LICENSE $(DESTDIR)$(PREFIX)/share/doc/formbridge/
	install -d $(DESTDIR)$(PREFIX)/share/doc/formbridge/examples/templates
	install -m 644 $(filter-out %/templates,$(wildcard examples/*)) $(DESTDIR)$(PREFIX)/share/doc/formbridge/examples/
	install -m 644 examples/templates/*.html $(DESTDIR)$(PREFIX)/share/doc/formbridge/examples/templates/
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's,@PREFIX@,$(PREFIX),' doc/formbridge.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/formbridge.service
	test -e $(DESTDIR)/etc/formbridge/config.ini || \
	    install -m 640 config.ini.example $(DESTDIR)/etc/formbridge/config.ini

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/sbin/formbridge $(DESTDIR)$(PREFIX)/share/man/man8/formbridge.8 \
	    $(DESTDIR)$(PREFIX)/share/man/man5/formbridge.ini.5 $(DESTDIR)$(PREFIX)/lib/systemd/system/formbridge.service
	rm -rf $(DESTDIR)$(PREFIX)/share/doc/formbridge

DIST = formbridge-$(VERSION)
dist:
	rm -rf build-dist && mkdir -p build-dist
	git archive --prefix=$(DIST)/ HEAD | tar -x -C build-dist
	tar -C build-dist -czf $(DIST).tar.gz $(DIST)
	$(MAKE) -C build-dist/$(DIST)
	$(MAKE) -C build-dist/$(DIST) install DESTDIR=$(CURDIR)/build-dist/root
	build-dist/root$(PREFIX)/sbin/formbridge --version
	rm -rf build-dist

clean:
	rm -rf build build-* formbridge formbridge.debug formbridge-*

.PHONY: all libs unit fuzzers test asan valgrind fuzz e2e lint bench install uninstall dist clean
.SECONDARY:
