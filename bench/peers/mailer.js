// mailer.js PORT CERTIFICATE KEY SMTP_PORT
//
// A form mailer as the documentation of express, multer and nodemailer has it: NODE_ENV=production and a worker for each
// core (express, "performance best practices"), uploads in memory (multer), a pool of connections over STARTTLS that the
// host must offer and prove itself on (nodemailer, "pooled SMTP" and "TLS options"). Success is said after Postfix said it.
'use strict';

const cluster = require('cluster');
const fs = require('fs');
const https = require('https');
const os = require('os');

const [port, certificate, key, smtp] = process.argv.slice(2);

if (cluster.isPrimary) {
    os.cpus().forEach(() => cluster.fork());
    process.on('SIGTERM', () => process.exit(0));
} else {
    const express = require('express');
    const multer = require('multer');
    const nodemailer = require('nodemailer');

    const transport = nodemailer.createTransport({
        pool: true,
        host: 'localhost',
        port: Number(smtp),
        requireTLS: true,
        tls: { ca: fs.readFileSync(certificate) },
    });
    const uploads = multer({ storage: multer.memoryStorage(), limits: { fileSize: 12 << 20 } });
    const app = express();
    app.disable('x-powered-by');
    app.post('/f/order', express.urlencoded({ extended: false }), uploads.any(), async (req, res) => {
        const { name, email, item, message } = req.body ?? {};
        if (!name || !/^[^\s@]+@[^\s@]+$/.test(email ?? '')) {
            return res.status(422).send('Name and address, please.');
        }
        await transport.sendMail({
            from: 'website@example.com',
            to: 'orders@example.com',
            replyTo: email,
            subject: 'Order',
            text: `Name: ${name}\nEmail: ${email}\nItem: ${item}\nMessage: ${message}\n`,
            attachments: (req.files ?? []).map((f) => ({ filename: f.originalname, content: f.buffer })),
        });
        res.redirect(303, 'https://localhost/thanks.html');
    });
    https.createServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) }, app).listen(port, '127.0.0.1');
}
