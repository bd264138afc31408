/* SPDX-License-Identifier: MIT */
/* What both halves of flow.c know. */
#pragma once

#define FLOW_TEXT 32 /* one more than the bytes of a text that are looked at */

enum flow_result { FLOW_HASH, FLOW_DIGITS, FLOW_RESULTS };
