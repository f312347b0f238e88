def add_to_cart(item: str, count: int = 1) -> str:
    """Put something into the shopping cart.

    Args:
        item: What to buy.
        count: How many of it.
    """
    return f"Added {count} x {item}."


checks.ex_01_1(add_to_cart)
