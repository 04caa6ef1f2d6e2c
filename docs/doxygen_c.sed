# Comments of C headers, as doxygen wants them: before a declaration, and behind one on the same line.
/SPDX/b
s,^/\*$,/**,
s,^/\* ,/** ,
/^[^#*/]*[^#*/ 	].*\/\* .* \*\/$/s,/\* \(.*\) \*/$,/**< \1 */,
