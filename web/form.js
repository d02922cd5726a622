// Takes over the forms of a page whose action is this form: errors beside the fields, a progress bar for uploads, the
// receipt in place. Served as /f/NAME.js with SETTINGS replaced by the texts in the visitor's language, and without
// comments and indentation. Needs of the page's policy: script-src and connect-src of this host.
//
// - Nothing is styled here: what is added has class names that begin with "formbridge-".
// - A form is never sent twice by the script's own decision. When no answer comes the visitor is told, and presses the
//   button again. The nonce stays the same until there is a receipt, so the server takes both for one submission. That
//   second try goes the browser's ordinary way: whatever kept the answer from the script, a policy of the page or an
//   origin that is not allowed, becomes a page that says so.
// - The browser's own checks (required, type=email) come first, in the browser's own words.
'use strict';
(({lang, dir, texts}) => {
    const endpoint = new URL(document.currentScript.src), key = Symbol();
    endpoint.pathname = endpoint.pathname.slice(0, -3);
    endpoint.search = '';
    let ids = 0;

    // By the prototype: a field may be named "elements" and hide the form's own.
    const elements = Object.getOwnPropertyDescriptor(HTMLFormElement.prototype, 'elements').get;
    const controls = form => [...elements.call(form)];
    const stateOf = form => {
        const action = new URL(form.getAttribute('action') || '', document.baseURI);
        action.search = action.hash = '';
        return action.href === endpoint.href && (form[key] ||= {form, marks: []});
    };
    const make = (tag, kind, text, attributes) => {
        const e = document.createElement(tag);
        Object.assign(e, {className: 'formbridge-' + kind, lang, dir, textContent: text});
        for (const a in attributes) e.setAttribute(a, attributes[a]);
        return e;
    };

    // ---- hidden fields

    const hide = (s, name, value) =>
        s.form.append(Object.assign(s[name] ||= document.createElement('input'), {type: 'hidden', name, value}));
    const dropToken = s => {
        s.ready = 0;
        s._token?.remove();
        s._proof?.remove();
    };
    const renew = s => hide(s, '_nonce', [...crypto.getRandomValues(new Uint32Array(4))].join('-'));

    // ---- token and proof of work

    // Finds n so that the SHA-256 of "token:n" begins with so many zero bits, a slice at a time.
    const prove = async (token, bits) => {
        for (let from = 0;; from += 256) {
            const hashes = await Promise.all([...Array(256).keys()].map(
                i => crypto.subtle.digest('SHA-256', new TextEncoder().encode(token + ':' + (from + i)))));
            const found = hashes.findIndex(h => new DataView(h).getUint32() >>> (32 - bits) === 0);
            if (found >= 0) return from + found;
        }
    };
    // Resolves when the form may be sent: not before the time that the server takes for a person's. One without tokens
    // answers 404, and that is all right.
    const prepare = s => s.ready ||= (async () => {
        try {
            const answer = await fetch(endpoint + '/token');
            if (!answer.ok) return;
            const {token, bits, min_time} = await answer.json(), due = Date.now() + 1e3 * min_time;
            hide(s, '_token', token);
            s.stale = Date.now() + 8e7;
            if (bits) hide(s, '_proof', await prove(token, bits));
            await new Promise(done => setTimeout(done, due - Date.now()));
        } catch {
            s.ready = 0;
        }
    })();

    // ---- what the visitor is told

    const mark = (s, control, message) => {
        const id = 'formbridge-' + ++ids, described = control.getAttribute('aria-describedby') || '';
        const group = /radio|checkbox/.test(control.type) && control.closest('fieldset');
        const note = make('p', 'error', message, {id});
        if (group) group.append(note);
        else (control.closest('label') || control).after(note);
        control.setAttribute('aria-invalid', 'true');
        control.setAttribute('aria-describedby', described + ' ' + id);
        const undo = () => {
            note.remove();
            control.removeAttribute('aria-invalid');
            control.setAttribute('aria-describedby', described);
        };
        s.marks.push(undo);
        (group || control).addEventListener('input', undo, {once: true});
    };
    const complain = (s, errors) => {
        const box = make('div', 'errors', '', {role: 'alert'});
        let first;
        for (const {field, message} of errors) {
            const control = controls(s.form).find(c => field && c.name === field && c.type !== 'hidden');
            if (control) mark(s, control, message);
            else box.append(make('p', 'error', message));
            first ||= control;
        }
        if (box.firstChild) {
            s.form.prepend(box);
            s.marks.push(() => box.remove());
            box.scrollIntoView({block: 'nearest'});
        }
        first?.focus();
    };
    const thank = (s, id) => {
        const box = make('div', 'receipt', '', {role: 'status', tabindex: -1});
        s.form.replaceWith(box);
        const number = make('p', 'number', texts.receipt + ' ');
        number.append(make('strong', 'id', id));
        box.append(make('h2', 'title', texts.thanks), make('p', 'text', texts.stored), number, make('p', 'text', texts.keep));
        box.focus();
    };

    // ---- sending

    // What the browser would send, to the byte: a second try of its own is known as the same by that. Files travel only as
    // multipart/form-data.
    const encode = (form, button) => {
        const data = new FormData(form, button);
        // Before 2023 browsers did not take the button with it.
        if (button?.name && button.type !== 'image' && !data.has(button.name)) data.append(button.name, button.value);
        return form.getAttribute('enctype') === 'multipart/form-data' ? data
            : new URLSearchParams([...data].map(p => p.map(v => (v.name ?? v).replace(/\r\n?|\n/g, '\r\n'))));
    };
    const take = (s, text) => {
        let answer = {};
        try {
            answer = JSON.parse(text);
        } catch {
            s.failed = true;
        }
        if (answer.ok) {
            dropToken(s);
            renew(s);
            if (answer.next) location.assign(answer.next);
            else thank(s, answer.id);
        } else {
            if (/SPAM/.test(text)) dropToken(s);
            complain(s, answer.errors?.length ? answer.errors : [{message: answer.error || texts.failed}]);
        }
    };
    const send = async (s, button) => {
        const status = make('div', 'status', texts.sending, {role: 'status'});
        const buttons = controls(s.form).filter(c => /submit|image/.test(c.type) && !c.disabled);
        const busy = yes => {
            s.busy = yes;
            s.form.setAttribute('aria-busy', yes);
            for (const b of buttons) b.disabled = yes;
        };
        for (const undo of s.marks.splice(0)) undo();
        s.form.append(status);
        busy(true);
        // A token is good for a day, and a page may be open for longer.
        if (Date.now() > s.stale) dropToken(s);
        await prepare(s);
        // A button that rests would not be sent.
        busy(false);
        const body = encode(s.form, button), request = new XMLHttpRequest();
        busy(true);
        request.open('POST', endpoint);
        request.setRequestHeader('Accept', 'application/json');
        if (body instanceof FormData) {
            const bar = make('progress', 'progress', '', {'aria-label': texts.sending});
            status.append(' ', bar);
            request.upload.onprogress = e => bar.value = e.loaded / e.total;
        }
        request.onloadend = () => {
            status.remove();
            busy(false);
            take(s, request.responseText);
        };
        request.send(body);
    };

    document.addEventListener('focusin', e => {
        const s = e.target.form && stateOf(e.target.form);
        if (s) prepare(s);
    });
    // At the document, where the page's own handlers have had their say.
    document.addEventListener('submit', e => {
        const s = stateOf(e.target);
        if (!s || e.defaultPrevented) return;
        if (!s._nonce) renew(s);
        if (s.failed) {
            s.failed = false;
            return;
        }
        e.preventDefault();
        if (!s.busy) send(s, e.submitter);
    });
})(SETTINGS);
