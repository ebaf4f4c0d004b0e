/* Nothing: what stub libraries, linked only for their SONAME, are made of. */
