/* SPDX-License-Identifier: MIT */
/*
 * A program that is linked to the probed library.
 */
int late_lib_status(void);

int main(void)
{
	return late_lib_status();
}
