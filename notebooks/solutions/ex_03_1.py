def labels_for(prompt_ids, completion_ids):
    return [-100] * len(prompt_ids) + list(completion_ids)


checks.ex_03_1(labels_for)
