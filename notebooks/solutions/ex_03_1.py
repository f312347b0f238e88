def labels_for(pairs):
    longest = max(len(prompt) + len(completion) for prompt, completion in pairs)
    labels = [[-100] * len(prompt) + list(completion) for prompt, completion in pairs]
    return [row + [-100] * (longest - len(row)) for row in labels]


checks.ex_03_1(labels_for)
