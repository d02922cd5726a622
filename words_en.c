/* English. The first of the languages: what a sentence means is to be seen here. */

#include "bridge.h"

#define BACK "Use the Back button of your browser: what you typed should still be there. "

const struct words_language words_en = {
    .tag = "en",
    .dir = "ltr",
    .texts =
        {
            [W_COLON] = ": ",
            [W_UNNAMED] = "Unnamed field",
            [W_REQUIRED] = "(required)",
            [W_FILL_IN] = "Please fill this in.",
            [W_CHOOSE_FILE] = "Please choose a file.",
            [W_CHOOSE_ONE] = "Please choose one of the answers.",
            [W_NOT_TEXT] = "Please write something here. A file cannot be sent in this field.",
            [W_NOT_EMAIL] = "This is not an email address. It looks like name@example.com.",
            [W_NOT_NUMBER] = "Please write a number, such as 12 or 12.5.",
            [W_NOT_INTEGER] = "Please write a whole number, such as 12.",
            [W_NOT_DATE] = "Please write a date, such as 2026-11-30.",
            [W_NOT_TIME] = "Please write a time of day, such as 14:30.",
            [W_NOT_URL] = "Please write a whole web address, such as https://www.example.com/.",
            [W_NOT_TEL] = "Please write a telephone number with digits, such as +44 20 7946 0000.",
            [W_NOT_CHOICE] = "Please choose one of the answers that are offered.",
            [W_NOT_PATTERN] = "This is not written as it is asked for.",
            [W_TOO_SHORT] = "This is too short. Characters needed: at least {}.",
            [W_TOO_LONG] = "This is too long. Characters allowed: at most {}.",
            [W_TOO_LOW] = "This must be {} or more.",
            [W_TOO_HIGH] = "This must be {} or less.",
            [W_TOO_EARLY] = "This must be {} or later.",
            [W_TOO_LATE] = "This must be {} or earlier.",
            [W_TOO_MANY_FILES] = "These are too many files. Allowed: at most {}.",
            [W_WRONG_KIND] = "Files of this kind are not taken here. Please choose one of these kinds: {}.",
            [W_BACK] = "Back to {}",
            [W_SEND] = "Send again",
            [W_RECEIVED] = "Thank you",
            [W_RECEIVED_LEAD] = "Your message was received and is stored safely. It is now on its way to the "
                                "recipient.",
            [W_RECEIPT] = "Your receipt number",
            [W_KEEP] = "Keep this number: with it your message can be found again.",
            [W_RECEIVED_AT] = "Received {}",
            [W_INVALID] = "Please check your entries",
            [W_INVALID_LEAD] =
                "Nothing was sent yet. What you typed is still here: correct the marked fields, "
                "then send again.",
            [W_INVALID_LOST] = "Nothing was sent yet. Your text is too long to be shown here again. " BACK
                               "Correct it and send again.",
            [W_INVALID_LIST] = "To correct",
            [W_FILE_AGAIN] = "Choose {} again",
            [W_FILE_WAS] = "You had chosen: {}",
            [W_FILE_HINT] = "Files cannot be kept from one try to the next.",
            [W_SENDING] = "Sending …",
            [W_FAILED] = "No answer came, so it is not certain that your message has arrived. What you typed "
                         "is still here: please press the button once more. It will not arrive twice.",
            [W_ERROR] = "Error {}",
            [W_NOTHING_STORED] = "Nothing was stored and nothing was sent.",
            [W_FORM_BUSY] = "This form was sent too often in a short time, and not by you alone.",
            [W_BY_GET] = "This form is built in a way that it cannot be sent.",
            [W_BY_GET_ADVICE] =
                BACK "Sending it again does not help: please tell the owner of the web site, or "
                     "reach them in another way.",
            [W_SPAM] = "Not sent: it looks like spam",
            [W_SPAM_LEAD] = "Nothing was stored and nothing was sent. If this is no advertising, the mistake "
                            "is ours: what you typed is still here. Look through it and send it again. If it "
                            "is refused once more, please reach the owner of the web site in another way.",
            [W_SPAM_LIST] = "Why",
            [W_SPAM_ROBOT] = "It looks as if a program had sent the form, not a person.",
            [W_SPAM_LINKS] = "It holds more links than this form takes. Please leave some of them out.",
            [W_SPAM_TEXT] = "Its text looks like advertising, for its words or for the way links are written "
                            "in it. Please put it differently.",
            [W_ABOUT] = "Web forms, delivered safely",
            [W_ABOUT_LEAD] =
                "{} receives forms that visitors fill in on other web sites and delivers them to "
                "the owners of those sites.",
            [W_ABOUT_DATA] =
                "What you send travels encrypted, is stored before it is confirmed, and is shown "
                "to nobody else. There is nothing to see or to log in to here: please fill in the "
                "form on the site you came from.",
            [W_ABOUT_FORM] = "This address belongs to a form",
            [W_ABOUT_FORM_LEAD] =
                "The form itself is on a web site: please fill it in there, and send it from there. By "
                "opening this page nothing was sent.",
            [W_ABOUT_FORM_OWNER] = "Is this your form? Then this address belongs into its action attribute, "
                                   "with method=\"post\".",
            [W_DEMO] = "Order form",
            [W_DEMO_KICKER] = "Demonstration",
            [W_DEMO_LEAD] = "This is the demonstration of formbridge. An order that you send here becomes a "
                            "mail in a mailbox on the computer that runs it, and goes nowhere else.",
            [W_DEMO_NAME] = "Name",
            [W_DEMO_EMAIL] = "Email",
            [W_DEMO_EMAIL_HINT] = "A reply to the order will go to this address.",
            [W_DEMO_ITEM] = "Item",
            [W_DEMO_ITEM_1] = "Notebook, A5, dotted",
            [W_DEMO_ITEM_2] = "Notebook, A4, lined",
            [W_DEMO_ITEM_3] = "Fountain pen, fine nib",
            [W_DEMO_ITEM_4] = "Ink, midnight blue, 50 ml",
            [W_DEMO_CHOOSE] = "Please choose",
            [W_DEMO_QUANTITY] = "Quantity",
            [W_DEMO_MESSAGE] = "Message",
            [W_DEMO_PHOTO] = "Photo",
            [W_DEMO_PHOTO_HINT] = "A picture or any other file, delivered as an attachment.",
            [W_DEMO_CONSENT] = "I agree that these details are used to answer my order.",
            [W_DEMO_SEND] = "Send order",
        },
    .refusals =
        {
            {400, "That could not be read", "What arrived here is not a complete form.",
             BACK "Then send it again. If that does not help, please tell the owner of the web site."},
            {403, "Not accepted from there",
             "This form may not be sent from the page or place it was sent from.",
             "Please open the form on its own web site and send it from there."},
            {404, "Nothing here", "There is no form at this address.",
             "Please go back to the web site you came from. If its form led you here, tell the owner that "
             "the "
             "address in it is wrong."},
            {405, "That does not work here", "This address receives forms and nothing else.",
             "Please open the form on its web site and send it from there."},
            {408, "That took too long", "The form did not arrive in time.",
             BACK "Then send it again, if you can over a better connection or with smaller files."},
            {411, "That could not be read", "The length of the form was not stated.",
             "Please send the form with an ordinary web browser."},
            {413, "Too large", "The form, or a file in it, is larger than is accepted here.",
             BACK "Choose smaller or fewer files, or shorten the text, then send it again."},
            {415, "That could not be read", "The form arrived in a format that is not understood here.",
             "Please send the form with an ordinary web browser. If you did, tell the owner of the web "
             "site."},
            {422, "Nothing was sent", "The form arrived empty: nothing in it was filled in.",
             BACK "Fill the form in, then send it again."},
            {429, "Too often", "Too many forms came from your connection in a short time.",
             "Please wait a few minutes. " BACK "Then send it again."},
            {503, "Not possible right now", "The form could not be stored safely, so it was not accepted.",
             "Please wait a few minutes. " BACK
             "Then send it again. If it is urgent, please reach the owner of the web site in another way."},
        },
};
