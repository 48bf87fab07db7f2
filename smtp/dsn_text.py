"""What people read in a delivery report: French and English, a sentence of what happened and one of what to do.

Owns the words. Pure. Chosen by enhanced status code (RFC 3463): the whole code first, then its last two numbers, then its
class of subject.
"""

from collections.abc import Mapping

Words = Mapping[str, str]

_SUBJECTS: Words = {
    "failed": "Message non remis / Message not delivered",
    "delayed": "Message en attente / Message delayed",
    "success": "Message remis / Message delivered",
}

_INTRODUCTIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "failed": {
        "fr": (
            "Ceci est un message automatique du serveur de messagerie {host}.",
            "Votre message n'a pas pu être remis aux destinataires suivants :",
        ),
        "en": (
            "This is an automatic message of the mail server {host}.",
            "Your message could not be delivered to the following recipients:",
        ),
    },
    "delayed": {
        "fr": (
            "Ceci est un message automatique du serveur de messagerie {host}.",
            "Votre message attend encore d'être remis aux destinataires suivants.",
            "Vous n'avez rien à faire : le serveur continue d'essayer et vous préviendra s'il abandonne.",
        ),
        "en": (
            "This is an automatic message of the mail server {host}.",
            "Your message is still waiting to be delivered to the following recipients.",
            "You need not do anything: the server goes on trying and will tell you if it gives up.",
        ),
    },
    "success": {
        "fr": (
            "Ceci est un message automatique du serveur de messagerie {host}.",
            "Vous aviez demandé une confirmation. Votre message est arrivé :",
        ),
        "en": (
            "This is an automatic message of the mail server {host}.",
            "You had asked for a confirmation. Your message has arrived:",
        ),
    },
}

_ADVICE: Mapping[str, tuple[str, str]] = {
    "1.1": (
        "Cette adresse n'existe pas. Vérifiez son orthographe, puis renvoyez le message.",
        "This address does not exist. Check how it is spelled, then send the message again.",
    ),
    "1.2": (
        "Le domaine (la partie après le @) n'existe pas. Vérifiez son orthographe.",
        "The domain (the part behind the @) does not exist. Check how it is spelled.",
    ),
    "1.3": ("Cette adresse n'est pas valable. Corrigez-la.", "This is not a valid address. Correct it."),
    "1.10": (
        "Ce domaine ne reçoit pas de courrier. Demandez une autre adresse au destinataire.",
        "This domain takes no mail. Ask the recipient for another address.",
    ),
    "2.1": (
        "Cette boîte aux lettres est désactivée. Joignez le destinataire autrement.",
        "This mailbox is disabled. Reach the recipient in another way.",
    ),
    "2.2": (
        "La boîte aux lettres du destinataire est pleine. Prévenez-le autrement, puis réessayez plus tard.",
        "The recipient's mailbox is full. Tell them in another way, then try again later.",
    ),
    "2.3": (
        "Le message est trop volumineux pour ce destinataire. Envoyez les pièces jointes autrement (lien de partage).",
        "The message is too large for this recipient. Send the attachments in another way (a link).",
    ),
    "3.4": (
        "Le message est trop volumineux. Envoyez les pièces jointes autrement (lien de partage).",
        "The message is too large. Send the attachments in another way (a link).",
    ),
    "4.6": (
        "Le message tourne en boucle entre des serveurs. Signalez-le à votre support informatique.",
        "The message goes round in a loop between servers. Tell your IT support.",
    ),
    "4.7": (
        "Le serveur du destinataire n'a pas pris le message à temps. Réessayez plus tard ou joignez le destinataire autrement.",
        "The recipient's server did not take the message in time. Try again later or reach the recipient in another way.",
    ),
    "6.7": (
        "Le serveur du destinataire n'accepte pas les adresses avec accents. Utilisez une adresse sans accents.",
        "The recipient's server takes no addresses with accents. Use addresses without them.",
    ),
    "1": (
        "Le serveur du destinataire refuse cette adresse. Vérifiez-la auprès du destinataire.",
        "The recipient's server refuses this address. Check it with the recipient.",
    ),
    "2": (
        "La boîte aux lettres du destinataire ne prend pas ce message. Joignez le destinataire autrement.",
        "The recipient's mailbox does not take this message. Reach the recipient in another way.",
    ),
    "4": (
        "Le serveur du destinataire ne répond pas. Vérifiez l'adresse ou réessayez plus tard.",
        "The recipient's server does not answer. Check the address or try again later.",
    ),
    "6": (
        "Le serveur du destinataire ne prend pas ce type de contenu. Renvoyez le message autrement.",
        "The recipient's server does not take this kind of content. Send it in another form.",
    ),
    "7": (
        "Le serveur du destinataire refuse le message (règles de sécurité). Montrez ce rapport à votre support informatique.",
        "The recipient's server refuses the message (its security rules). Show this report to your IT support.",
    ),
    "": (
        "Le serveur du destinataire refuse le message. Montrez ce rapport à votre support informatique.",
        "The recipient's server refuses the message. Show this report to your IT support.",
    ),
}

_ACTIONS: Mapping[str, tuple[str, str]] = {
    "delivered": ("Remis dans la boîte aux lettres.", "Delivered to the mailbox."),
    "relayed": (
        "Transmis à un serveur qui n'envoie pas de confirmation.",
        "Passed to a server that sends no confirmation.",
    ),
    "expanded": ("Transmis aux membres du groupe.", "Passed on to the members of the group."),
}


def subject(kind: str) -> str:
    """ASCII."""
    return _SUBJECTS[kind]


def introduction(kind: str, language: str, host: str) -> list[str]:
    """The first sentences."""
    return [line.format(host=host) for line in _INTRODUCTIONS[kind][language]]


def advice_for(kind: str, action: str, status: str, language: str) -> list[str]:
    """What to do about one recipient; nothing while a message only waits."""
    if kind == "delayed":
        return []
    position = 0 if language == "fr" else 1
    if kind == "success":
        words = _ACTIONS.get(action)
        return [words[position]] if words else []
    subject_detail = status.partition(".")[2]
    for key in (subject_detail, subject_detail.partition(".")[0], ""):
        if key in _ADVICE:
            return [_ADVICE[key][position]]
    return []
