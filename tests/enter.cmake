# Waiting with a deadline, and the loops that stand on it: enter and stages.
ringstep_add_loop(timed SOURCE loops/timed.bpf.c STATE loops/timed.h)
ringstep_add_test(kit/timer USER KERNELS LOOPS timed nop_chain)
ringstep_add_loop(hooked SOURCE loops/hooked.bpf.c STATE loops/hooked.h)
ringstep_add_test(loops/enter USER KERNELS LOOPS enter hooked nop_chain)
ringstep_add_test(loops/stages USER KERNELS LOOPS stages)

# The examples, which check what they do and say so.
set(say_retry "4 requests received a byte, 4 did not in 101 tries. 404 were made again.")
set(say_latency "READ +12000.*failed +0.*[0-9]+ were timed")
set(say_stages "2 of 3 copies are on disk.*All 3 are.*48 of 48 reads found it")
foreach(name IN ITEMS retry latency stages)
  foreach(kernel IN LISTS RINGSTEP_TEST_KERNELS)
    ringstep_add_vm_test(${kernel} examples/${name} COMMAND "$<TARGET_FILE:ringstep-${name}>")
    set_tests_properties("${kernel}/examples/${name}" PROPERTIES PASS_REGULAR_EXPRESSION "${say_${name}}" ENVIRONMENT RINGSTEP_ENGINE=kernel)
  endforeach()
  add_test(NAME user/examples/${name} COMMAND "$<TARGET_FILE:ringstep-${name}>")
  set_tests_properties(user/examples/${name} PROPERTIES LABELS "host;user" TIMEOUT 30 ENVIRONMENT RINGSTEP_ENGINE=user
                       PASS_REGULAR_EXPRESSION "${say_${name}}")
endforeach()
