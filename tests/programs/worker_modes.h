/* SPDX-License-Identifier: MIT */
/*
 * What the workers of the tests do when they are asked; the program type says which.
 */
#pragma once

/* worker-stub: the real worker around a verifier that does this. */
enum stub_mode {
	STUB_ACCEPT, /* facts and log say what was asked */
	STUB_REFUSE, /* -EACCES */
	STUB_HANG,
	STUB_CRASH,
	STUB_EAT,  /* memory, until there is no more; then refuse with -ENOMEM */
	STUB_OPEN, /* one system call each that the sandbox does not have */
	STUB_SOCKET,
	STUB_EXEC,
	STUB_FORK,
	STUB_PTRACE,
	STUB_KILL,
	STUB_MAP_CODE,
	STUB_PROTECT_CODE,
	STUB_SEND_ELSEWHERE,
	STUB_PRCTL,
	STUB_LAST,
};
/* Added to a mode: constant of the first instruction. */
#define STUB_COMPILER 0x7e570000u

/* worker-fake: answers that the daemon must not believe. */
enum fake_mode {
	FAKE_HONEST,
	FAKE_SHORT,
	FAKE_LONG,
	FAKE_EMPTY,
	FAKE_MAGIC,
	FAKE_SEQUENCE,
	FAKE_POSITIVE,	 /* verdict */
	FAKE_HUGE_ERROR, /* verdict */
	FAKE_LOG_LONG,
	FAKE_LOG_NONE,
	FAKE_LOG_OPEN,	/* not terminated */
	FAKE_LOG_EARLY, /* terminated before its end */
	FAKE_CODE_LONG,
	FAKE_CODE_REFUSED, /* code of a refused program */
	FAKE_RELOCS_LONG,
	FAKE_RELOCS_ALONE, /* of no code */
	FAKE_FACTS_MAPS,
	FAKE_FACTS_BOOL,
	FAKE_FACTS_STACK,
	FAKE_FACTS_PROCESSED,
	FAKE_REASON_OPEN,
	FAKE_LAST_REFUSED, /* all before it but the first are refused */
	FAKE_DESCRIPTORS,  /* right, but with descriptors that nobody asked for */
	FAKE_TWICE,	   /* two answers to one request */
	FAKE_RESIZE,	   /* right, after trying to change the file's size */
	FAKE_CLOSE,	   /* no answer, the process stays */
	FAKE_EXIT,
};
