# The documents: what they tell their reader to type is typed here, and what they show comes out.
set(docs_dir "${CMAKE_CURRENT_BINARY_DIR}/docs")
set(run_document "${CMAKE_CURRENT_SOURCE_DIR}/docs/run_document.py")
list(GET RINGSTEP_TEST_KERNELS -1 newest)

set(environment RINGSTEP_ENGINE=user ${ringstep_launchers})

# The document is followed on this machine, with the user engine, and then in the newest kernel, where it asks for one.
function(ringstep_add_document name folder)
  set(command "${run_document}" "--path" "$<TARGET_FILE_DIR:ringstep-check>" "--path" "$<TARGET_FILE_DIR:hello>")
  set(what "${PROJECT_SOURCE_DIR}/docs/${name}.md" "${docs_dir}/${folder}")
  add_test(NAME "docs/${name}" COMMAND ${command} ${ARGN} ${what})
  set_tests_properties("docs/${name}" PROPERTIES LABELS host TIMEOUT 300 ENVIRONMENT "${environment}" FIXTURES_SETUP "docs_${name}")
  ringstep_add_vm_test(${newest} "docs/${name}" TIMEOUT 200 COMMAND ${command} --kernel ${what})
  set_property(TEST "${newest}/docs/${name}" APPEND PROPERTY FIXTURES_REQUIRED "docs_${name}")
endfunction()

ringstep_add_document(first-loop first-loop/work --link "ringstep=${PROJECT_SOURCE_DIR}")
# It goes on where the first one ends, with ringstep installed.
ringstep_add_document(debugging debugging/tar_walk --files-of "${PROJECT_SOURCE_DIR}/docs/first-loop.md"
                      --link "../installed=${docs_dir}/first-loop/work/installed")
set_tests_properties(docs/debugging PROPERTIES FIXTURES_REQUIRED docs_first-loop)
foreach(name IN ITEMS chain order blocks gate pace stages signals network)
  ringstep_add_document(${name} ${name}/work --link "installed=${docs_dir}/first-loop/work/installed")
  set_tests_properties(docs/${name} PROPERTIES FIXTURES_REQUIRED docs_first-loop)
endforeach()

# The site: everything public is described, no link is dead. Neither are those of the documents as they lie in the repository.
add_test(NAME host/site COMMAND "${PROJECT_SOURCE_DIR}/docs/make_reference.sh" "${PROJECT_SOURCE_DIR}" "${docs_dir}/site")
set_tests_properties(host/site PROPERTIES LABELS host TIMEOUT 300 FIXTURES_SETUP docs_site)
set(links "${CMAKE_CURRENT_SOURCE_DIR}/docs/links.py")
add_test(NAME host/site-links COMMAND "${links}" --site "${docs_dir}/site/html")
set_tests_properties(host/site-links PROPERTIES LABELS host TIMEOUT 300 FIXTURES_REQUIRED docs_site)
add_test(NAME host/document-links COMMAND "${links}" --documents "${PROJECT_SOURCE_DIR}")
set_tests_properties(host/document-links PROPERTIES LABELS host TIMEOUT 300)
# What documents quote of other files is there.
file(GLOB documents CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/*.md" "${PROJECT_SOURCE_DIR}/docs/*.md")
add_test(NAME host/document-quotes COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/docs/quotes.py" "${PROJECT_SOURCE_DIR}" ${documents})
set_tests_properties(host/document-quotes PROPERTIES LABELS host TIMEOUT 300)

# The longest step of each loop, as its comment states it.
add_test(NAME host/document-steps COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/docs/steps.py" "${PROJECT_SOURCE_DIR}")
set_tests_properties(host/document-steps PROPERTIES LABELS host TIMEOUT 300)

# `./dev run`, which the documents have their reader type.
add_test(NAME host/dev_run COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/dev_run.sh" "${PROJECT_SOURCE_DIR}")
set_tests_properties(host/dev_run PROPERTIES LABELS host TIMEOUT 200 SKIP_RETURN_CODE 77)
