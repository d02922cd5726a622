/* German, with the formal address (Sie). */

#include "bridge.h"

#define BACK                                                                                                 \
    "Gehen Sie mit der Zurück-Taste Ihres Browsers zum Formular: Was Sie eingegeben haben, sollte noch da " \
    "sein. "

const struct words_language words_de = {
    .tag = "de",
    .dir = "ltr",
    .texts =
        {
            [W_COLON] = ": ",
            [W_UNNAMED] = "Feld ohne Namen",
            [W_REQUIRED] = "(Pflichtfeld)",
            [W_FILL_IN] = "Bitte füllen Sie dieses Feld aus.",
            [W_CHOOSE_FILE] = "Bitte wählen Sie eine Datei aus.",
            [W_CHOOSE_ONE] = "Bitte wählen Sie eine der Antworten aus.",
            [W_NOT_TEXT] =
                "Bitte schreiben Sie hier etwas. Eine Datei kann mit diesem Feld nicht gesendet werden.",
            [W_NOT_EMAIL] = "Das ist keine E-Mail-Adresse. Sie sieht so aus: name@example.com.",
            [W_NOT_NUMBER] = "Bitte geben Sie eine Zahl ein, zum Beispiel 12 oder 12,5.",
            [W_NOT_INTEGER] = "Bitte geben Sie eine ganze Zahl ein, zum Beispiel 12.",
            [W_NOT_DATE] = "Bitte geben Sie ein Datum ein, zum Beispiel 30.11.2026.",
            [W_NOT_TIME] = "Bitte geben Sie eine Uhrzeit ein, zum Beispiel 14:30.",
            [W_NOT_URL] = "Bitte geben Sie eine ganze Webadresse ein, zum Beispiel https://www.example.com/.",
            [W_NOT_TEL] = "Bitte geben Sie eine Telefonnummer in Ziffern ein, zum Beispiel +49 30 1234567.",
            [W_NOT_CHOICE] = "Bitte wählen Sie eine der angebotenen Antworten aus.",
            [W_NOT_PATTERN] = "Das ist nicht so geschrieben, wie es verlangt ist.",
            [W_TOO_SHORT] = "Das ist zu kurz. Nötige Zeichen: mindestens {}.",
            [W_TOO_LONG] = "Das ist zu lang. Erlaubte Zeichen: höchstens {}.",
            [W_TOO_LOW] = "Das muss {} oder mehr sein.",
            [W_TOO_HIGH] = "Das darf höchstens {} sein.",
            [W_TOO_EARLY] = "Das darf nicht vor {} liegen.",
            [W_TOO_LATE] = "Das darf nicht nach {} liegen.",
            [W_TOO_MANY_FILES] = "Das sind zu viele Dateien. Erlaubt: höchstens {}.",
            [W_WRONG_KIND] =
                "Dateien dieser Art werden hier nicht angenommen. Bitte wählen Sie eine dieser Arten: {}.",
            [W_BACK] = "Zurück zu {}",
            [W_SEND] = "Noch einmal senden",
            [W_RECEIVED] = "Vielen Dank",
            [W_RECEIVED_LEAD] =
                "Ihre Nachricht ist angekommen und sicher gespeichert. Sie ist jetzt auf dem Weg "
                "zum Empfänger.",
            [W_RECEIPT] = "Ihre Eingangsnummer",
            [W_KEEP] = "Bitte heben Sie diese Nummer auf: Mit ihr lässt sich Ihre Nachricht wiederfinden.",
            [W_RECEIVED_AT] = "Eingegangen: {}",
            [W_INVALID] = "Bitte prüfen Sie Ihre Angaben",
            [W_INVALID_LEAD] =
                "Es wurde noch nichts gesendet. Ihre Eingaben sind noch da: Berichtigen Sie bitte "
                "die markierten Felder und senden Sie das Formular dann noch einmal.",
            [W_INVALID_LOST] =
                "Es wurde noch nichts gesendet. Ihr Text ist zu lang, um ihn hier noch einmal zu "
                "zeigen. " BACK "Berichtigen Sie es dort und senden Sie es noch einmal.",
            [W_INVALID_LIST] = "Das ist noch zu tun",
            [W_FILE_AGAIN] = "{}: bitte noch einmal auswählen",
            [W_FILE_WAS] = "Sie hatten ausgewählt: {}",
            [W_FILE_HINT] = "Dateien können nicht bis zum nächsten Versuch aufbewahrt werden.",
            [W_SENDING] = "Wird gesendet …",
            [W_FAILED] =
                "Es kam keine Antwort. Es ist also nicht sicher, dass Ihre Nachricht angekommen ist. Ihre "
                "Eingaben sind noch da: Bitte drücken Sie den Knopf noch einmal. Sie kommt nicht doppelt an.",
            [W_ERROR] = "Fehler {}",
            [W_NOTHING_STORED] = "Es wurde nichts gespeichert und nichts gesendet.",
            [W_FORM_BUSY] = "Dieses Formular wurde in kurzer Zeit zu oft gesendet, und nicht nur von Ihnen.",
            [W_BY_GET] = "Dieses Formular ist so gebaut, dass es nicht gesendet werden kann.",
            [W_BY_GET_ADVICE] =
                BACK "Es noch einmal zu senden, hilft nicht: Bitte sagen Sie es dem Betreiber der "
                     "Webseite, oder erreichen Sie ihn auf einem anderen Weg.",
            [W_SPAM] = "Nicht gesendet: Das sieht nach Spam aus",
            [W_SPAM_LEAD] = "Es wurde nichts gespeichert und nichts gesendet. Ist das keine Werbung, dann "
                            "liegt der Fehler bei uns: Ihre Eingaben sind noch da. Sehen Sie sie bitte durch "
                            "und senden Sie das Formular noch einmal. Wird es wieder abgewiesen, erreichen "
                            "Sie den Betreiber der Webseite bitte auf einem anderen Weg.",
            [W_SPAM_LIST] = "Warum",
            [W_SPAM_ROBOT] = "Es sieht so aus, als hätte ein Programm das Formular gesendet und kein Mensch.",
            [W_SPAM_LINKS] =
                "Es enthält mehr Links, als dieses Formular annimmt. Bitte lassen Sie einige davon weg.",
            [W_SPAM_TEXT] = "Der Text sieht nach Werbung aus, wegen seiner Wörter oder wegen der Art, wie "
                            "Links darin geschrieben sind. Bitte formulieren Sie ihn anders.",
            [W_ABOUT] = "Formulare, sicher zugestellt",
            [W_ABOUT_LEAD] = "{} nimmt Formulare entgegen, die Besucher auf anderen Webseiten ausfüllen, und "
                             "stellt sie den Betreibern dieser Seiten zu.",
            [W_ABOUT_DATA] =
                "Was Sie senden, wird verschlüsselt übertragen, gespeichert, bevor es bestätigt "
                "wird, und niemandem sonst gezeigt. Hier gibt es nichts zu sehen und keine "
                "Anmeldung: Bitte füllen Sie das Formular auf der Seite aus, von der Sie kommen.",
            [W_ABOUT_FORM] = "Diese Adresse gehört zu einem Formular",
            [W_ABOUT_FORM_LEAD] =
                "Das Formular selbst steht auf einer Webseite: Bitte füllen Sie es dort aus und senden "
                "Sie es von dort. Durch das Öffnen dieser Seite wurde nichts gesendet.",
            [W_ABOUT_FORM_OWNER] = "Ist das Ihr Formular? Dann gehört diese Adresse in sein Attribut action, "
                                   "zusammen mit method=\"post\".",
            [W_DEMO] = "Bestellung",
            [W_DEMO_KICKER] = "Vorführung",
            [W_DEMO_LEAD] =
                "Das ist die Vorführung von formbridge. Eine Bestellung, die Sie hier absenden, wird "
                "zu einer E-Mail in einem Postfach auf dem Rechner, auf dem sie läuft, und geht "
                "nirgendwo anders hin.",
            [W_DEMO_NAME] = "Name",
            [W_DEMO_EMAIL] = "E-Mail",
            [W_DEMO_EMAIL_HINT] = "Eine Antwort auf die Bestellung geht an diese Adresse.",
            [W_DEMO_ITEM] = "Artikel",
            [W_DEMO_ITEM_1] = "Notizbuch, A5, gepunktet",
            [W_DEMO_ITEM_2] = "Notizbuch, A4, liniert",
            [W_DEMO_ITEM_3] = "Füllfederhalter, feine Feder",
            [W_DEMO_ITEM_4] = "Tinte, mitternachtsblau, 50 ml",
            [W_DEMO_CHOOSE] = "Bitte auswählen",
            [W_DEMO_QUANTITY] = "Anzahl",
            [W_DEMO_MESSAGE] = "Nachricht",
            [W_DEMO_PHOTO] = "Foto",
            [W_DEMO_PHOTO_HINT] = "Ein Bild oder eine andere Datei; sie kommt als Anhang an.",
            [W_DEMO_CONSENT] = "Ich bin einverstanden, dass diese Angaben zur Beantwortung meiner Bestellung "
                               "verwendet werden.",
            [W_DEMO_SEND] = "Bestellung senden",
        },
    .refusals =
        {
            {400, "Das war nicht zu lesen", "Was hier ankam, ist kein vollständiges Formular.",
             BACK
             "Senden Sie es dann noch einmal. Wenn das nicht hilft, sagen Sie es bitte dem Betreiber der "
             "Webseite."},
            {403, "Von dort nicht angenommen",
             "Dieses Formular darf von der Seite oder dem Ort, von dem es kam, nicht gesendet werden.",
             "Bitte öffnen Sie das Formular auf seiner eigenen Webseite und senden Sie es von dort."},
            {404, "Hier ist nichts", "Unter dieser Adresse gibt es kein Formular.",
             "Bitte gehen Sie zurück zu der Webseite, von der Sie kommen. Wenn deren Formular Sie hierher "
             "geführt "
             "hat, sagen Sie dem Betreiber bitte, dass die Adresse darin falsch ist."},
            {405, "Das geht hier nicht", "Diese Adresse nimmt Formulare entgegen und sonst nichts.",
             "Bitte öffnen Sie das Formular auf seiner Webseite und senden Sie es von dort."},
            {408, "Das hat zu lange gedauert", "Das Formular ist nicht rechtzeitig angekommen.",
             BACK
             "Senden Sie es dann noch einmal, wenn möglich über eine bessere Verbindung oder mit kleineren "
             "Dateien."},
            {411, "Das war nicht zu lesen", "Die Länge des Formulars war nicht angegeben.",
             "Bitte senden Sie das Formular mit einem gewöhnlichen Webbrowser."},
            {413, "Zu groß", "Das Formular oder eine Datei darin ist größer, als hier angenommen wird.",
             BACK "Wählen Sie kleinere oder weniger Dateien oder kürzen Sie den Text und senden Sie es noch "
                  "einmal."},
            {415, "Das war nicht zu lesen",
             "Das Formular kam in einem Format an, das hier nicht verstanden wird.",
             "Bitte senden Sie das Formular mit einem gewöhnlichen Webbrowser. Wenn Sie das getan haben, "
             "sagen Sie "
             "es bitte dem Betreiber der Webseite."},
            {422, "Nichts gesendet", "Das Formular kam leer an: Nichts darin war ausgefüllt.",
             BACK "Füllen Sie das Formular aus und senden Sie es dann noch einmal."},
            {429, "Zu oft", "Von Ihrem Anschluss kamen in kurzer Zeit zu viele Formulare.",
             "Bitte warten Sie ein paar Minuten. " BACK "Senden Sie es dann noch einmal."},
            {503, "Im Moment nicht möglich",
             "Das Formular konnte nicht sicher gespeichert werden und wurde deshalb nicht angenommen.",
             "Bitte warten Sie ein paar Minuten. " BACK
             "Senden Sie es dann noch einmal. Wenn es eilt, wenden Sie sich bitte auf anderem Weg an den "
             "Betreiber "
             "der Webseite."},
        },
};
