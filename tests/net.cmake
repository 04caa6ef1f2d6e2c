# Servers, and the blocks that they are made of.
ringstep_add_test(net/key_value USER KERNELS MAIN LOOPS kv TIMEOUT 600)
ringstep_add_test(net/frames USER KERNELS MAIN LOOPS frames TIMEOUT 400)
# A proxy hands each shutdown to a worker thread. In Linux 7.1 to 7.3, workers do not move between processors, and the kernel warns of that.
ringstep_add_test(net/proxy USER KERNELS MAIN LOOPS proxy TIMEOUT 400 VM_OPTIONS --cpus 1)
ringstep_add_test(net/proxy_times USER KERNELS MAIN LOOPS proxy TIMEOUT 400 VM_OPTIONS --cpus 1)
# An emulated kernel takes too long for most of these, which are skipped there, but for `./dev test --thorough`.
ringstep_add_loop(crowd SOURCE net/crowd.bpf.c STATE net/crowd.h)
ringstep_add_test(net/crowd USER KERNELS LOOPS crowd TIMEOUT 600 VM_OPTIONS --cpus 1)
ringstep_add_test(net/faults USER KERNELS LOOPS kv frames http proxy TIMEOUT 600 VM_OPTIONS --cpus 1)
ringstep_add_test(net/soak USER KERNELS LOOPS kv frames http proxy TIMEOUT 600 VM_OPTIONS --cpus 1)
set_tests_properties(user/net/soak PROPERTIES TIMEOUT 1200)
foreach(kernel IN LISTS RINGSTEP_TEST_KERNELS)
  foreach(name IN ITEMS crowd faults soak)
    if(TEST ${kernel}/net/${name})
      # 4: all of its test cases were skipped.
      set_tests_properties(${kernel}/net/${name} PROPERTIES SKIP_RETURN_CODE 4)
    endif()
  endforeach()
endforeach()
ringstep_add_loop(halves SOURCE net/halves.bpf.c STATE net/halves.h)
ringstep_add_test(net/halves USER KERNELS MAIN LOOPS halves VM_OPTIONS --cpus 1)
ringstep_add_test(net/late_workers USER KERNELS MAIN LOOPS kv proxy VM_OPTIONS --cpus 1)
ringstep_add_loop(slices SOURCE net/slices.bpf.c STATE net/slices.h)
ringstep_add_test(net/slices USER KERNELS MAIN LOOPS slices)
ringstep_add_test(net/dns USER KERNELS MAIN LOOPS dns)
ringstep_add_example(dns dns SCRIPT dns.sh)
ringstep_add_example(key_value key-value SCRIPT key_value.sh)

# The parser of HTTP, as the kit's code compiled for the host.
ringstep_add_test(net/http_parser HOST)
target_sources(test-net-http_parser PRIVATE net/http_kit.c)
set_source_files_properties(
  net/http_kit.c PROPERTIES COMPILE_OPTIONS "-std=gnu11;-fno-strict-aliasing;-isystem${RINGSTEP_KIT_DIR}/ringstep/user;-isystem${RINGSTEP_KIT_DIR}")
# One processor, for the reason that net/proxy has one. A server hands a shutdown to a worker when it closes before its peer does, as it refuses a request.
ringstep_add_test(net/http USER KERNELS MAIN LOOPS http TIMEOUT 400 VM_OPTIONS --cpus 1)
ringstep_add_test(net/http_changes USER KERNELS LOOPS http)
# The kernel reads files of a tmpfs on worker threads, which it warns of as above.
ringstep_add_test(net/http_conditions USER KERNELS LOOPS http TIMEOUT 400 VM_OPTIONS --cpus 1)
ringstep_add_test(net/http_stream USER KERNELS MAIN LOOPS http frames TIMEOUT 400 VM_OPTIONS --cpus 1)
ringstep_add_test(net/http_static USER KERNELS MAIN LOOPS http TIMEOUT 400 VM_OPTIONS --cpus 1)
ringstep_add_example(http_server http-server SCRIPT http_server.sh)
ringstep_add_example(proxy ringstep-proxy SCRIPT proxy.sh VM_OPTIONS --cpus 1)
