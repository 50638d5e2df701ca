# cmake -D FILE=PROGRAM -P remove_rpath.cmake: the program no longer names folders of this machine
# in which its libraries are looked for.
file(RPATH_REMOVE FILE "${FILE}")
