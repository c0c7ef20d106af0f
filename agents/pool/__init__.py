"""The pool: which families grade now, and what scientists are asked for.

    assignments  when assignments are written, and what each shows a scientist
    fields       the fields that families are spread over
    audience     who answers, as prompts describe it to scientists; habits, what their answers show
    admission    the join of the scientists: novelty and acceptance, in assignment order
    adoption     families that a run begins with
    curation     which families are retired or held, by pass rate
    vain         why a founding came to nothing, and what to change
    rates        pass rates, and how well a family discriminates between experts

It owns the table of assignments, and writes accepted families to run store, folder and memory.
"""
