# Building blocks of the authoring kit, by a loop that is nothing but them.
ringstep_add_loop(relay SOURCE loops/relay.bpf.c STATE loops/relay.h)
ringstep_add_test(blocks/requests USER KERNELS LOOPS relay)
# One loop after the other on one ring.
# One processor: see chain.cmake.
ringstep_add_test(loops/pairs USER KERNELS LOOPS gate pace drain link chain stages enter copy TIMEOUT 500 VM_OPTIONS --cpus 1)
ringstep_add_test(loops/chains_end USER KERNELS LOOPS chain gate scripted)
ringstep_add_loop(lists SOURCE blocks/lists.bpf.c STATE blocks/lists.h)
ringstep_add_test(blocks/lists USER KERNELS LOOPS lists)
ringstep_add_loop(behind SOURCE blocks/behind.bpf.c STATE blocks/behind.h NOT_INSPECTED) # the inspection knows the state, and nothing behind it
ringstep_add_test(blocks/behind USER KERNELS LOOPS behind)
ringstep_add_loop(bytes SOURCE blocks/bytes.bpf.c STATE blocks/bytes.h)
ringstep_add_loop(adder SOURCE blocks/adder.bpf.c STATE blocks/adder.h)
ringstep_add_test(blocks/bytes USER KERNELS LOOPS bytes adder)
ringstep_add_loop(alarms SOURCE blocks/alarms.bpf.c STATE blocks/alarms.h)
ringstep_add_test(blocks/alarms USER KERNELS LOOPS alarms)
ringstep_add_loop(entries SOURCE blocks/entries.bpf.c STATE blocks/entries.h)
ringstep_add_test(blocks/entries USER KERNELS LOOPS entries)
ringstep_add_loop(letters SOURCE blocks/letters.bpf.c STATE blocks/letters.h)
ringstep_add_test(blocks/mailbox USER KERNELS MAIN LOOPS letters)
# A loop of an author's own that schedules requests.
ringstep_add_example(deadlines deadlines EXPECT "900 requests were submitted in the order of their deadlines, and 100 were cancelled before")
