"""A model for tests that says what it is told to."""


class Says:
    """A model that gives these answers in turn, and then none."""

    name, template, context = "says", "", 100_000

    def __init__(self, *texts):
        self.texts, self.prompts = list(texts), []

    def count_tokens(self, prompt):
        return len(prompt) // 3

    def stream(self, prompt, limit=300):
        self.prompts.append(prompt)
        yield self.texts.pop(0) if self.texts else "1. join()"
