<?php
// A form mailer as the PHP manual shows mail() to be used: checked, From ours, Reply-To the visitor's, files attached.

const FIELDS = ['name', 'email', 'item', 'message'];

function refuse(int $status, string $why): never
{
    http_response_code($status);
    exit($why);
}

if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
    refuse(405, 'Post the form.');
}
$email = filter_var($_POST['email'] ?? '', FILTER_VALIDATE_EMAIL);
if ($email === false || trim($_POST['name'] ?? '') === '') {
    refuse(422, 'Name and address, please.');
}
$text = '';
foreach (FIELDS as $field) {
    $text .= ucfirst($field) . ': ' . ($_POST[$field] ?? '') . "\r\n";
}

$headers = ['From' => 'website@example.com', 'Reply-To' => $email, 'MIME-Version' => '1.0'];
$plain = "Content-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: quoted-printable\r\n";
if ($_FILES === []) {
    $headers += ['Content-Type' => 'text/plain; charset=UTF-8', 'Content-Transfer-Encoding' => 'quoted-printable'];
    $body = quoted_printable_encode($text);
} else {
    $boundary = bin2hex(random_bytes(16));
    $headers['Content-Type'] = "multipart/mixed; boundary=\"$boundary\"";
    $body = "--$boundary\r\n$plain\r\n" . quoted_printable_encode($text) . "\r\n";
    foreach ($_FILES as $file) {
        $name = preg_replace('/[^A-Za-z0-9._-]/', '_', $file['name']);
        $body .= "--$boundary\r\nContent-Type: application/octet-stream\r\n"
            . "Content-Disposition: attachment; filename=\"$name\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            . chunk_split(base64_encode(file_get_contents($file['tmp_name'])));
    }
    $body .= "--$boundary--\r\n";
}
if (!mail('orders@example.com', 'Order', $body, $headers)) {
    refuse(503, 'Not sent.');
}
header('Location: https://localhost/thanks.html', true, 303);
