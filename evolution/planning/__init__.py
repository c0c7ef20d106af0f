"""What a run needs of memory, from headers and configuration alone, and where the bank goes.

plan       plan_memory, MemoryPlan, Machine
sizes      measure_sizes, longest_sequence, Sizes
merging    plan_merge, plan_merging: memory and arithmetic of merges
lessons    plan_lesson, plan_lessons: memory and arithmetic of lessons
headroom   free_memory: what the machine, or the container, has left
placement  load_placed_bank, merging_device, lesson_device
"""
