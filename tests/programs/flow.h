/* SPDX-License-Identifier: MIT */
/* What both halves of flow.c know. */
#pragma once

#define FLOW_TEXT 32 /* one more than the bytes of a text that are looked at */

#define FLOW_KEYS 16 /* elements of the map that is walked */

enum flow_result { FLOW_HASH, FLOW_DIGITS, FLOW_TURNS, FLOW_EACH, FLOW_STOPPED, FLOW_RESULTS };
