/* SPDX-License-Identifier: MIT */
/*
 * The verbs of bpfshimctl: each gets its own argv (argv[0] is the verb) and returns an exit status.
 */
#pragma once

#define CTL_OK	   0
#define CTL_FAILED 1 /* the answer is no, or something went wrong */
#define CTL_USAGE  2

/** ctl_policy() - policy check FILE, policy show [FILE] */
int ctl_policy(int argc, char **argv);

/** ctl_verify() - verify FILE.o: the verdict on each program of an object file */
int ctl_verify(int argc, char **argv);

/** ctl_ps() - what runs right now */
int ctl_ps(int argc, char **argv);

/** ctl_vm() - run a program in the virtual machine; Return: exit status */
int ctl_vm(int argc, char **argv);
