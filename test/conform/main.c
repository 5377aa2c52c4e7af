/* The conformance suite: what every engine must do, as sentences.  The other files register them. */
#include "lib/test.h"

int main(int argc, char **argv) { return t_main(argc, argv); }
