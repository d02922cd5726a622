/* French, with the formal address (vous). A no-break space, narrow but before the colon, stands before
 * : ; ? and ! and inside the quotation marks. */

#include "bridge.h"

#define COLON "\u00A0: "
#define FINE  "\u202F" /* before ; ? ! */
#define BACK                                                                                                 \
    "Utilisez le bouton Retour de votre navigateur" COLON "ce que vous avez saisi devrait encore y être. "

const struct words_language words_fr = {
    .tag = "fr",
    .dir = "ltr",
    .texts =
        {
            [W_COLON] = COLON,
            [W_UNNAMED] = "Champ sans nom",
            [W_REQUIRED] = "(obligatoire)",
            [W_FILL_IN] = "Veuillez remplir ce champ.",
            [W_CHOOSE_FILE] = "Veuillez choisir un fichier.",
            [W_CHOOSE_ONE] = "Veuillez choisir une des réponses.",
            [W_NOT_TEXT] = "Veuillez écrire quelque chose ici. Ce champ ne peut pas contenir de fichier.",
            [W_NOT_EMAIL] = "Ceci n’est pas une adresse e-mail. Elle a la forme nom@example.com.",
            [W_NOT_NUMBER] = "Veuillez indiquer un nombre, par exemple 12 ou 12,5.",
            [W_NOT_INTEGER] = "Veuillez indiquer un nombre entier, par exemple 12.",
            [W_NOT_DATE] = "Veuillez indiquer une date, par exemple 30.11.2026.",
            [W_NOT_TIME] = "Veuillez indiquer une heure, par exemple 14:30.",
            [W_NOT_URL] = "Veuillez indiquer une adresse web complète, par exemple https://www.example.com/.",
            [W_NOT_TEL] =
                "Veuillez indiquer un numéro de téléphone en chiffres, par exemple +33 1 23 45 67 89.",
            [W_NOT_CHOICE] = "Veuillez choisir une des réponses proposées.",
            [W_NOT_PATTERN] = "Ceci n’est pas écrit comme il est demandé.",
            [W_TOO_SHORT] = "C’est trop court. Caractères nécessaires : au moins {}.",
            [W_TOO_LONG] = "C’est trop long. Caractères permis : au plus {}.",
            [W_TOO_LOW] = "La valeur doit être au moins {}.",
            [W_TOO_HIGH] = "La valeur doit être au plus {}.",
            [W_TOO_EARLY] = "Ceci ne peut pas être avant {}.",
            [W_TOO_LATE] = "Ceci ne peut pas être après {}.",
            [W_TOO_MANY_FILES] = "Il y a trop de fichiers. Permis : au plus {}.",
            [W_WRONG_KIND] =
                "Ce type de fichier n’est pas accepté ici. Veuillez choisir parmi ces types : {}.",
            [W_BACK] = "Retour à {}",
            [W_SEND] = "Envoyer de nouveau",
            [W_RECEIVED] = "Merci",
            [W_RECEIVED_LEAD] =
                "Votre message a été reçu et enregistré en lieu sûr. Il est maintenant en route "
                "vers son destinataire.",
            [W_RECEIPT] = "Votre numéro de réception",
            [W_KEEP] = "Conservez ce numéro" COLON "il permet de retrouver votre message.",
            [W_RECEIVED_AT] = "Reçu le {}",
            [W_INVALID] = "Veuillez vérifier vos réponses",
            [W_INVALID_LEAD] = "Rien n’a encore été envoyé. Ce que vous avez saisi est toujours là" COLON
                               "corrigez les champs signalés, puis envoyez de nouveau.",
            [W_INVALID_LOST] =
                "Rien n’a encore été envoyé. Votre texte est trop long pour être affiché ici une "
                "seconde fois. " BACK "Corrigez-le et envoyez de nouveau.",
            [W_INVALID_LIST] = "À corriger",
            [W_FILE_AGAIN] = "{}" COLON "à choisir de nouveau",
            [W_FILE_WAS] = "Vous aviez choisi" COLON "{}",
            [W_FILE_HINT] = "Les fichiers ne peuvent pas être gardés d’un essai à l’autre.",
            [W_SENDING] = "Envoi en cours…",
            [W_FAILED] =
                "Aucune réponse n’est venue" COLON "il n’est donc pas certain que votre message soit arrivé. "
                "Ce que vous avez saisi est toujours là" COLON
                "veuillez appuyer encore une fois sur le bouton. Il n’arrivera pas en double.",
            [W_ERROR] = "Erreur {}",
            [W_NOTHING_STORED] = "Rien n’a été enregistré et rien n’a été envoyé.",
            [W_FORM_BUSY] =
                "Ce formulaire a été envoyé trop souvent en peu de temps, et pas seulement par vous.",
            [W_BY_GET] = "Ce formulaire est fait de telle sorte qu’il ne peut pas être envoyé.",
            [W_BY_GET_ADVICE] =
                BACK "L’envoyer de nouveau ne servirait à rien" COLON
                     "veuillez prévenir le responsable du site, ou le joindre d’une autre façon.",
            [W_SPAM] = "Non envoyé" COLON "cela ressemble à un message indésirable",
            [W_SPAM_LEAD] =
                "Rien n’a été enregistré et rien n’a été envoyé. S’il ne s’agit pas de "
                "publicité, l’erreur est de notre côté" COLON "ce que vous avez saisi est toujours là. "
                "Veuillez le relire, puis l’envoyer de nouveau. En cas de nouveau refus, "
                "veuillez joindre le responsable du site d’une autre façon.",
            [W_SPAM_LIST] = "Pourquoi",
            [W_SPAM_ROBOT] =
                "Le formulaire semble avoir été envoyé par un programme et non par une personne.",
            [W_SPAM_LINKS] =
                "Il contient plus de liens que ce formulaire n’en accepte. Veuillez en retirer quelques-uns.",
            [W_SPAM_TEXT] = "Son texte ressemble à de la publicité, par ses mots ou par la façon dont les "
                            "liens y sont écrits. Veuillez le formuler autrement.",
            [W_ABOUT] = "Des formulaires remis en toute sûreté",
            [W_ABOUT_LEAD] =
                "{} reçoit les formulaires que les visiteurs remplissent sur d’autres sites web et "
                "les remet aux propriétaires de ces sites.",
            [W_ABOUT_DATA] =
                "Ce que vous envoyez voyage chiffré, est enregistré avant d’être confirmé et n’est "
                "montré à personne d’autre. Il n’y a rien à voir ici, ni compte à ouvrir" COLON
                "veuillez remplir le formulaire sur le site d’où vous venez.",
            [W_ABOUT_FORM] = "Cette adresse est celle d’un formulaire",
            [W_ABOUT_FORM_LEAD] =
                "Le formulaire lui-même se trouve sur un site web" COLON "veuillez le remplir et "
                "l’envoyer là-bas. L’ouverture de cette page n’a rien envoyé.",
            [W_ABOUT_FORM_OWNER] =
                "Est-ce votre formulaire" FINE "? Alors cette adresse doit figurer dans son "
                "attribut action, avec method=\"post\".",
            [W_DEMO] = "Bon de commande",
            [W_DEMO_KICKER] = "Démonstration",
            [W_DEMO_LEAD] =
                "Ceci est la démonstration de formbridge. Une commande envoyée d’ici devient un "
                "courriel dans une boîte aux lettres de l’ordinateur qui la fait tourner, et ne va "
                "nulle part ailleurs.",
            [W_DEMO_NAME] = "Nom",
            [W_DEMO_EMAIL] = "Adresse électronique",
            [W_DEMO_EMAIL_HINT] = "La réponse à la commande ira à cette adresse.",
            [W_DEMO_ITEM] = "Article",
            [W_DEMO_ITEM_1] = "Carnet, A5, pointillé",
            [W_DEMO_ITEM_2] = "Carnet, A4, ligné",
            [W_DEMO_ITEM_3] = "Stylo à plume fine",
            [W_DEMO_ITEM_4] = "Encre bleu nuit, 50 ml",
            [W_DEMO_CHOOSE] = "Veuillez choisir",
            [W_DEMO_QUANTITY] = "Quantité",
            [W_DEMO_MESSAGE] = "Message",
            [W_DEMO_PHOTO] = "Photo",
            [W_DEMO_PHOTO_HINT] = "Une image ou tout autre fichier, remis en pièce jointe.",
            [W_DEMO_CONSENT] = "J’accepte que ces données soient utilisées pour répondre à ma commande.",
            [W_DEMO_SEND] = "Envoyer la commande",
        },
    .refusals =
        {
            {400, "Lecture impossible", "Ce qui est arrivé ici n’est pas un formulaire complet.",
             BACK
             "Envoyez-le ensuite de nouveau. Si cela n’aide pas, veuillez prévenir le propriétaire du site "
             "web."},
            {403, "Envoi refusé depuis cet endroit",
             "Ce formulaire ne peut pas être envoyé depuis la page ou l’endroit d’où il vient.",
             "Veuillez ouvrir le formulaire sur son propre site web et l’envoyer de là."},
            {404, "Il n’y a rien ici", "Il n’y a pas de formulaire à cette adresse.",
             "Veuillez revenir au site web d’où vous venez. Si son formulaire vous a mené ici, dites à son "
             "propriétaire que l’adresse indiquée est fausse."},
            {405, "Cela ne marche pas ici", "Cette adresse reçoit des formulaires et rien d’autre.",
             "Veuillez ouvrir le formulaire sur son site web et l’envoyer de là."},
            {408, "C’était trop long", "Le formulaire n’est pas arrivé à temps.",
             BACK
             "Envoyez-le ensuite de nouveau, si possible avec une meilleure connexion ou des fichiers plus "
             "petits."},
            {411, "Lecture impossible", "La longueur du formulaire n’était pas indiquée.",
             "Veuillez envoyer le formulaire avec un navigateur web ordinaire."},
            {413, "Trop volumineux", "Le formulaire, ou un fichier joint, dépasse la taille acceptée ici.",
             BACK
             "Choisissez des fichiers plus petits ou moins nombreux, ou raccourcissez le texte, puis envoyez "
             "de nouveau."},
            {415, "Lecture impossible", "Le formulaire est arrivé dans un format qui n’est pas compris ici.",
             "Veuillez envoyer le formulaire avec un navigateur web ordinaire. Si c’était le cas, prévenez "
             "le "
             "propriétaire du site web."},
            {422, "Rien n’a été envoyé", "Le formulaire est arrivé vide : rien n’y était rempli.",
             BACK "Remplissez le formulaire, puis renvoyez-le."},
            {429, "Trop souvent", "Trop de formulaires sont venus de votre connexion en peu de temps.",
             "Veuillez attendre quelques minutes. " BACK "Envoyez-le ensuite de nouveau."},
            {503, "Impossible pour le moment",
             "Le formulaire n’a pas pu être enregistré en lieu sûr" FINE "; il n’a donc pas été accepté.",
             "Veuillez attendre quelques minutes. " BACK
             "Envoyez-le ensuite de nouveau. Si c’est urgent, veuillez joindre le propriétaire du site web "
             "par un "
             "autre moyen."},
        },
};
