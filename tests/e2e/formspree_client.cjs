// Sends what its argument says by the unmodified package and prints what the package makes of the answer.
// {modules, endpoint, form, client, data, files, session}
const {readFileSync} = require('node:fs');
const {createRequire} = require('node:module');

const job = JSON.parse(process.argv[2]);
if (job.session) { // what the package looks for in a browser, where it adds a header about the session
    globalThis.window = {};
    globalThis.document = {documentElement: {getAttribute: () => null}};
    globalThis.navigator ??= {};
}
const {createClient, isSubmissionError} = createRequire(`${job.modules}/`)('@formspree/core');

let data = job.data;
if (job.files) {
    data = new FormData();
    for (const [name, value] of Object.entries(job.data)) {
        data.append(name, value);
    }
    for (const [name, path] of Object.entries(job.files)) {
        data.append(name, new Blob([readFileSync(path)], {type: 'image/png'}), path.split('/').pop());
    }
}
createClient(job.client).submitForm(job.form, data, {endpoint: job.endpoint}).then(result => {
    console.log(JSON.stringify(isSubmissionError(result)
        ? {kind: result.kind, form: result.getFormErrors(), fields: result.getAllFieldErrors()}
        : {kind: result.kind, next: result.next}));
});
