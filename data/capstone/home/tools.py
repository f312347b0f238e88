"""A home that is only simulated, and ten things that an assistant can do in it: every public function is a tool.

What one function returns can be an argument of the next: find_lights names the lights, turn_lights switches them.
"""

from typing import Literal

HOME = {
    "rooms": {
        "kitchen": {"degrees": 20.5, "lights": ["counter strip", "hob light"], "things": ["recipe book"]},
        "living room": {"degrees": 21.5, "lights": ["floor lamp", "piano lamp"], "things": ["remote control", "cat"]},
        "dining room": {"degrees": 20.0, "lights": ["chandelier", "sideboard lamp"], "things": ["hearing aid"]},
        "bedroom": {"degrees": 17.5, "lights": ["bedside lamp", "salt lamp"], "things": ["wallet", "e-reader"]},
        "guest room": {"degrees": 16.0, "lights": ["paper lantern"], "things": ["violin"]},
        "nursery": {"degrees": 22.0, "lights": ["night light", "moon lamp"], "things": ["teddy bear", "tablet"]},
        "bathroom": {"degrees": 23.0, "lights": ["mirror light"], "things": ["wedding ring"]},
        "hallway": {"degrees": 18.5, "lights": ["stair light", "coat rack light"], "things": ["key ring"]},
        "study": {"degrees": 19.5, "lights": ["desk lamp", "bookcase strip"], "things": ["passport", "blue backpack"]},
        "attic": {"degrees": 14.5, "lights": ["skylight strip"], "things": ["camera"]},
        "cellar": {"degrees": 12.0, "lights": ["wine rack light"], "things": ["tortoise"]},
        "garage": {"degrees": 9.0, "lights": ["workbench lamp"], "things": ["umbrella", "power drill"]},
        "laundry room": {"degrees": 18.0, "lights": ["neon tube"], "things": ["puppy"]},
        "winter garden": {"degrees": 15.5, "lights": ["fairy light chain"], "things": ["watering can"]},
    },
    "lit": {"hob light", "floor lamp", "piano lamp", "moon lamp", "stair light", "desk lamp", "workbench lamp"},
    "heating": {},  # what each room is set to
    "blinds": {},
    "front door": "locked",
    "shopping list": ["coffee"],
    "timers": [],
    "said": [],
}


def _known(kind: str, name: str, names: dict) -> str:
    if name.strip().lower() not in names:
        raise ValueError(f"there is no {kind} {name.strip()!r}; there are {', '.join(names)}")
    return name.strip().lower()


def _rooms(room: str) -> list[str]:
    return [_known("room", room, HOME["rooms"])] if room else list(HOME["rooms"])


def _places(kind: str) -> dict[str, str]:
    return {name: room for room, has in HOME["rooms"].items() for name in has[kind]}


def find_lights(room: str, state: Literal["on", "off"]) -> str:
    """Look up the names of the lights that are on, or off, in a room.

    Args:
        room: The room; empty for the whole home.
        state: Which lights to look for.
    """
    lights = [light for name in _rooms(room) for light in HOME["rooms"][name]["lights"]]
    return ", ".join(light for light in lights if (light in HOME["lit"]) == (state == "on")) or "none"


def turn_lights(lights: str, state: Literal["on", "off"]) -> str:
    """Switch one or more lights on or off.

    Args:
        lights: Names of the lights, with commas between them.
        state: What they should be.
    """
    names = [_known("light", name, _places("lights")) for name in lights.split(",") if name != "none"]
    HOME["lit"] = HOME["lit"].union(names) if state == "on" else HOME["lit"].difference(names)
    return f"Switched {state}: {', '.join(names) or 'nothing'}."


def measure_temperature(room: str) -> str:
    """Measure how many degrees a room has.

    Args:
        room: The room.
    """
    return str(HOME["rooms"][_known("room", room, HOME["rooms"])]["degrees"])


def set_heating(room: str, degrees: str) -> str:
    """Heat a room to a temperature.

    Args:
        room: The room; empty for the whole home.
        degrees: How warm it should get, such as 21.5.
    """
    if not degrees.replace(".", "", 1).isdigit() or not 5 <= float(degrees) <= 30:
        raise ValueError(f"the heating cannot do {degrees!r} degrees; it goes from 5 to 30")
    HOME["heating"].update(dict.fromkeys(_rooms(room), float(degrees)))
    return f"The heating of the {room or 'home'} is set to {degrees} degrees."


def move_blinds(room: str, position: Literal["open", "half", "closed"]) -> str:
    """Open or close the blinds of a room, or leave them half way.

    Args:
        room: The room; empty for the whole home.
        position: Where the blinds should be.
    """
    HOME["blinds"].update(dict.fromkeys(_rooms(room), position))
    return f"The blinds of the {room or 'home'} are {position}."


def find_thing(thing: str) -> str:
    """Look up in which room a thing or a pet is.

    Args:
        thing: What is missing.
    """
    return _places("things")[_known("tagged thing", thing, _places("things"))]


def announce(room: str, message: str) -> str:
    """Say something through the loudspeaker of a room.

    Args:
        room: The room; empty for the whole home.
        message: What to say.
    """
    HOME["said"] += [(room, message) for room in _rooms(room)]
    return f"Said in the {room or 'home'}: {message}"


def add_to_shopping_list(items: list[str]) -> str:
    """Put one or more things on the shopping list.

    Args:
        items: What to buy.
    """
    HOME["shopping list"] += items
    return f"On the shopping list: {', '.join(HOME['shopping list'])}."


def start_timer(minutes: int, name: str) -> str:
    """Start a timer.

    Args:
        minutes: After how many minutes it rings.
        name: What it is for; empty if nothing was said.
    """
    if minutes < 1:
        raise ValueError(f"a timer cannot run for {minutes} minutes; it needs at least 1")
    HOME["timers"].append((name, minutes))
    return f"The {name or 'unnamed'} timer rings in {minutes} minutes."


def lock_front_door(locked: bool) -> str:
    """Lock or unlock the front door.

    Args:
        locked: True to lock it, False to unlock it.
    """
    HOME["front door"] = "locked" if locked else "unlocked"
    return f"The front door is {HOME['front door']}."
