/* Spanish, with the formal address (usted). */

#include "bridge.h"

#define BACK "Use el botón Atrás de su navegador: lo que escribió debería seguir ahí. "

const struct words_language words_es = {
    .tag = "es",
    .dir = "ltr",
    .texts =
        {
            [W_COLON] = ": ",
            [W_UNNAMED] = "Campo sin nombre",
            [W_REQUIRED] = "(obligatorio)",
            [W_FILL_IN] = "Por favor, rellene este campo.",
            [W_CHOOSE_FILE] = "Por favor, elija un archivo.",
            [W_CHOOSE_ONE] = "Por favor, elija una de las respuestas.",
            [W_NOT_TEXT] = "Por favor, escriba algo aquí. En este campo no se puede enviar un archivo.",
            [W_NOT_EMAIL] = "Esto no es una dirección de correo. Es de la forma nombre@example.com.",
            [W_NOT_NUMBER] = "Por favor, escriba un número, por ejemplo 12 o 12,5.",
            [W_NOT_INTEGER] = "Por favor, escriba un número entero, por ejemplo 12.",
            [W_NOT_DATE] = "Por favor, escriba una fecha, por ejemplo 30.11.2026.",
            [W_NOT_TIME] = "Por favor, escriba una hora, por ejemplo 14:30.",
            [W_NOT_URL] =
                "Por favor, escriba una dirección web completa, por ejemplo https://www.example.com/.",
            [W_NOT_TEL] = "Por favor, escriba un número de teléfono con cifras, por ejemplo +34 912 345 678.",
            [W_NOT_CHOICE] = "Por favor, elija una de las respuestas que se ofrecen.",
            [W_NOT_PATTERN] = "Esto no está escrito como se pide.",
            [W_TOO_SHORT] = "Es demasiado corto. Caracteres necesarios: al menos {}.",
            [W_TOO_LONG] = "Es demasiado largo. Caracteres permitidos: como máximo {}.",
            [W_TOO_LOW] = "Debe ser {} o más.",
            [W_TOO_HIGH] = "Debe ser {} o menos.",
            [W_TOO_EARLY] = "No puede ser antes de {}.",
            [W_TOO_LATE] = "No puede ser después de {}.",
            [W_TOO_MANY_FILES] = "Son demasiados archivos. Permitidos: como máximo {}.",
            [W_WRONG_KIND] =
                "Aquí no se aceptan archivos de este tipo. Por favor, elija uno de estos tipos: {}.",
            [W_BACK] = "Volver a {}",
            [W_SEND] = "Enviar de nuevo",
            [W_RECEIVED] = "Gracias",
            [W_RECEIVED_LEAD] =
                "Su mensaje se ha recibido y está guardado de forma segura. Ya va camino de su "
                "destinatario.",
            [W_RECEIPT] = "Su número de recibo",
            [W_KEEP] = "Guarde este número: con él se puede volver a encontrar su mensaje.",
            [W_RECEIVED_AT] = "Recibido: {}",
            [W_INVALID] = "Por favor, revise sus datos",
            [W_INVALID_LEAD] =
                "Todavía no se ha enviado nada. Lo que escribió sigue aquí: corrija los campos "
                "marcados y envíe de nuevo.",
            [W_INVALID_LOST] =
                "Todavía no se ha enviado nada. Su texto es demasiado largo para mostrarlo aquí "
                "otra vez. " BACK "Corríjalo y envíe de nuevo.",
            [W_INVALID_LIST] = "Por corregir",
            [W_FILE_AGAIN] = "{}: elíjalo de nuevo",
            [W_FILE_WAS] = "Había elegido: {}",
            [W_FILE_HINT] = "Los archivos no se pueden conservar de un intento a otro.",
            [W_SENDING] = "Enviando…",
            [W_FAILED] = "No ha llegado respuesta, así que no es seguro que su mensaje haya llegado. Lo que "
                         "escribió sigue aquí: por favor, pulse el botón una vez más. No llegará dos veces.",
            [W_ERROR] = "Error {}",
            [W_NOTHING_STORED] = "No se ha guardado ni enviado nada.",
            [W_FORM_BUSY] =
                "Este formulario se ha enviado demasiadas veces en poco tiempo, y no solo por usted.",
            [W_BY_GET] = "Este formulario está hecho de tal manera que no se puede enviar.",
            [W_BY_GET_ADVICE] =
                BACK "Enviarlo de nuevo no serviría de nada: avise al responsable del sitio web o "
                     "póngase en contacto con él de otra manera.",
            [W_SPAM] = "No se ha enviado: parece correo no deseado",
            [W_SPAM_LEAD] =
                "No se ha guardado ni enviado nada. Si no se trata de publicidad, el error es nuestro: lo "
                "que usted ha escrito sigue aquí. Revíselo y envíelo de nuevo. Si se rechaza otra vez, "
                "póngase en contacto con el responsable del sitio web de otra manera.",
            [W_SPAM_LIST] = "Por qué",
            [W_SPAM_ROBOT] = "Parece que el formulario lo ha enviado un programa y no una persona.",
            [W_SPAM_LINKS] =
                "Contiene más enlaces de los que admite este formulario. Quite algunos, por favor.",
            [W_SPAM_TEXT] = "Su texto parece publicidad, por sus palabras o por la forma en que están "
                            "escritos los enlaces. Escríbalo de otra manera, por favor.",
            [W_ABOUT] = "Formularios web, entregados con seguridad",
            [W_ABOUT_LEAD] =
                "{} recibe los formularios que los visitantes rellenan en otros sitios web y los "
                "entrega a los dueños de esos sitios.",
            [W_ABOUT_DATA] =
                "Lo que usted envía viaja cifrado, se guarda antes de confirmarse y no se muestra a "
                "nadie más. Aquí no hay nada que ver ni dónde iniciar sesión: por favor, rellene el "
                "formulario en el sitio del que viene.",
            [W_ABOUT_FORM] = "Esta dirección es la de un formulario",
            [W_ABOUT_FORM_LEAD] =
                "El formulario está en un sitio web: por favor, rellénelo y envíelo allí. Al abrir esta "
                "página no se ha enviado nada.",
            [W_ABOUT_FORM_OWNER] =
                "¿Es este su formulario? Entonces esta dirección va en su atributo action, con "
                "method=\"post\".",
            [W_DEMO] = "Pedido",
            [W_DEMO_KICKER] = "Demostración",
            [W_DEMO_LEAD] =
                "Esta es la demostración de formbridge. Un pedido que envíe aquí se convierte en un "
                "correo en un buzón del ordenador que la ejecuta, y no va a ningún otro lugar.",
            [W_DEMO_NAME] = "Nombre",
            [W_DEMO_EMAIL] = "Correo electrónico",
            [W_DEMO_EMAIL_HINT] = "La respuesta al pedido irá a esta dirección.",
            [W_DEMO_ITEM] = "Artículo",
            [W_DEMO_ITEM_1] = "Cuaderno, A5, punteado",
            [W_DEMO_ITEM_2] = "Cuaderno, A4, rayado",
            [W_DEMO_ITEM_3] = "Pluma estilográfica, punta fina",
            [W_DEMO_ITEM_4] = "Tinta, azul medianoche, 50 ml",
            [W_DEMO_CHOOSE] = "Elija, por favor",
            [W_DEMO_QUANTITY] = "Cantidad",
            [W_DEMO_MESSAGE] = "Mensaje",
            [W_DEMO_PHOTO] = "Foto",
            [W_DEMO_PHOTO_HINT] = "Una imagen o cualquier otro archivo; llega como adjunto.",
            [W_DEMO_CONSENT] = "Acepto que estos datos se usen para responder a mi pedido.",
            [W_DEMO_SEND] = "Enviar el pedido",
        },
    .refusals =
        {
            {400, "No se ha podido leer", "Lo que ha llegado aquí no es un formulario completo.",
             BACK "Después envíelo de nuevo. Si eso no ayuda, avise por favor al dueño del sitio web."},
            {403, "No se acepta desde ahí",
             "Este formulario no puede enviarse desde la página o el lugar del que vino.",
             "Por favor, abra el formulario en su propio sitio web y envíelo desde allí."},
            {404, "Aquí no hay nada", "No hay ningún formulario en esta dirección.",
             "Por favor, vuelva al sitio web del que viene. Si fue su formulario el que le trajo aquí, diga "
             "al dueño "
             "que la dirección que contiene es incorrecta."},
            {405, "Eso no funciona aquí", "Esta dirección recibe formularios y nada más.",
             "Por favor, abra el formulario en su sitio web y envíelo desde allí."},
            {408, "Ha tardado demasiado", "El formulario no llegó a tiempo.",
             BACK "Después envíelo de nuevo, si puede con una conexión mejor o con archivos más pequeños."},
            {411, "No se ha podido leer", "No se indicó la longitud del formulario.",
             "Por favor, envíe el formulario con un navegador web corriente."},
            {413, "Demasiado grande",
             "El formulario, o un archivo que contiene, supera el tamaño que se acepta aquí.",
             BACK "Elija archivos más pequeños o menos archivos, o acorte el texto, y envíelo de nuevo."},
            {415, "No se ha podido leer", "El formulario llegó en un formato que aquí no se entiende.",
             "Por favor, envíe el formulario con un navegador web corriente. Si ya lo hizo, avise al dueño "
             "del sitio "
             "web."},
            {422, "No se ha enviado nada", "El formulario llegó vacío: no se había rellenado nada.",
             BACK "Rellene el formulario y envíelo de nuevo."},
            {429, "Demasiadas veces", "Han llegado demasiados formularios desde su conexión en poco tiempo.",
             "Por favor, espere unos minutos. " BACK "Después envíelo de nuevo."},
            {503, "Ahora no es posible",
             "El formulario no se pudo guardar de forma segura, así que no se ha aceptado.",
             "Por favor, espere unos minutos. " BACK "Después envíelo de nuevo. Si es urgente, póngase en "
             "contacto con el dueño del sitio web por otra "
             "vía."},
        },
};
