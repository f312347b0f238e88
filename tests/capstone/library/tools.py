"""A small town's library that is only simulated, and what can be done at its desk: every public function is a tool."""

from typing import Literal

LIBRARY = {
    "members": {  # by the number of their card; loans with the weeks that are left
        "A-17": {"name": "Ada Brunner", "fine": 4.5, "loans": {"The Tin Drummer Girl": 1, "Bees on Balconies": 3}},
        "B-204": {"name": "Moses Oyelaran", "fine": 0.0, "loans": {"Salt and Thunder": 2}},
        "C-31": {"name": "Tilda Wren", "fine": 0.0, "loans": {"The Moth Collector": 2}},
        "D-88": {"name": "Kaspar Hollis", "fine": 12.0, "loans": {"How Bridges Stand": 1}},
        "E-5": {"name": "Ines Faria", "fine": 0.0, "loans": {"Dragons of Dull Street": 4}},
        "F-119": {"name": "Noam Adler", "fine": 0.0, "loans": {"The Baker's Algebra": 2, "Chess After Dark": 1}},
        "G-62": {"name": "Greta Solberg", "fine": 2.2, "loans": {"Night Ferry to Riga": 3}},
        "H-1": {"name": "Wilfred Pennick", "fine": 0.0, "loans": {"A Field Guide to Clouds": 1}},
        "J-340": {"name": "Yara Haddad-Stone", "fine": 0.0, "loans": {"The Lamplighter's Son": 2}},
        "K-77": {"name": "Bruno Castellan", "fine": 31.6, "loans": {}},
        "L-9": {"name": "Lottie McBride", "fine": 0.8, "loans": {"Ponies in Space": 2}},
        "N-23": {"name": "Sister Agnes", "fine": 0.0, "loans": {"The Last Tuesday": 3, "Soup Through the Ages": 2}},
    },
    "shelf": (
        "The Glass Orchard, Knots for Sailors, A Winter in Oulu, Mushrooms of the North, The Second Postmaster, "
        "Owl Light, Bread Without Fear, The Accordion Thief, Maps of Nowhere, Seven Ways to Fold a Boat, "
        "Mrs Quill Investigates, The Quiet Tram, Stars for Beginners, My Uncle the Volcano, Letters to a Goat"
    ).split(", "),
    "free seats": dict.fromkeys(
        "poetry evening,chess night,story hour,knitting circle,bookbinding course,puppet show,map reading walk,"
        "seed swap,crime writers' talk,repair café,quiz night,homework club,calligraphy class,film matinee".split(","),
        40,
    ),
    "bookings": {"reading room": [], "studio": [], "great hall": []},
    "reservations": [],
    "notices": [],
}


def _known(kind: str, name: str, names: dict | list) -> str:
    if name.strip() not in names:
        raise ValueError(f"there is no {kind} {name.strip()!r}; there are {', '.join(names) or 'none'}")
    return name.strip()


def _member(card: str) -> dict:
    return LIBRARY["members"][_known("card", card, LIBRARY["members"])]


def _loans() -> dict[str, dict[str, int]]:
    return {title: member["loans"] for member in LIBRARY["members"].values() for title in member["loans"]}


def _free_time(room: str, start: str, end: str) -> tuple[str, str]:
    for begins, ends in LIBRARY["bookings"][room]:
        if begins < end and start < ends:
            raise ValueError(f"the {room} is taken from {begins} to {ends}")
    return start, end


def find_member(name: str) -> str:
    """Look up the number of a member's library card.

    Args:
        name: Name of the member.
    """
    cards = {member["name"]: card for card, member in LIBRARY["members"].items()}
    return cards[_known("member", name, cards)]


def find_loans(card: str) -> str:
    """Look up the titles that a member has borrowed.

    Args:
        card: Number of the library card.
    """
    return ", ".join(_member(card)["loans"]) or "none"


def lend_title(title: str, card: str, weeks: int) -> str:
    """Lend a title from the shelf to a member.

    Args:
        title: What is borrowed.
        card: Number of the member's library card.
        weeks: For how long.
    """
    _member(card)["loans"][_known("title on the shelf", title, LIBRARY["shelf"])] = weeks
    LIBRARY["shelf"].remove(title)
    return f"{title} is lent to {card} for {weeks} weeks."


def prolong_loans(titles: str, weeks: int) -> str:
    """Let one or more borrowed titles stay out for longer.

    Args:
        titles: The titles, with commas between them.
        weeks: How many weeks are added.
    """
    for title in [_known("loan", title, _loans()) for title in titles.split(",") if title != "none"]:
        _loans()[title][title] += weeks
    return f"{weeks} weeks more for: {titles}."


def take_back(titles: str) -> str:
    """Record that one or more borrowed titles were returned.

    Args:
        titles: The titles, with commas between them.
    """
    for title in [_known("loan", title, _loans()) for title in titles.split(",") if title != "none"]:
        del _loans()[title][title]
        LIBRARY["shelf"].append(title)
    return f"Back on the shelf: {titles}."


def reserve_title(title: str, card: str) -> str:
    """Reserve a title that is out for a member.

    Args:
        title: What the member waits for.
        card: Number of the member's library card.
    """
    LIBRARY["reservations"].append((_known("loan", title, _loans()), _member(card)["name"]))
    return f"{title} is reserved for {card}."


def settle_fine(card: str, euros: float) -> str:
    """Record that a member has paid money for a fine.

    Args:
        card: Number of the library card.
        euros: How much was paid.
    """
    _member(card)["fine"] -= euros
    return f"{card} owes {max(0, _member(card)['fine']):.2f} euros."


def send_notice(card: str, message: str) -> str:
    """Send a message to a member.

    Args:
        card: Number of the library card.
        message: What it says.
    """
    LIBRARY["notices"].append((_member(card)["name"], message))
    return f"Sent to {card}: {message}"


def hire_room(room: Literal["reading room", "studio", "great hall"], start: str, end: str, group: str) -> str:
    """Let a room of the library to a group.

    Args:
        room: Which room.
        start: YYYY-MM-DD HH:MM:SS.
        end: YYYY-MM-DD HH:MM:SS.
        group: Who meets there; empty if nobody was named.
    """
    LIBRARY["bookings"][room].append(_free_time(room, start, end))
    return f"The {room} is taken from {start} to {end}, {group or 'nobody named'}."


def sign_up(event: str, card: str, seats: int) -> str:
    """Take seats at an event for a member.

    Args:
        event: Name of the event.
        card: Number of the member's library card.
        seats: How many.
    """
    name, events = _member(card)["name"], [event for event, free in LIBRARY["free seats"].items() if free >= seats]
    LIBRARY["free seats"][_known("event with enough seats", event, events)] -= seats
    return f"{name} has {seats} seats at the {event}."
