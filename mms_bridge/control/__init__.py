"""Control of CSWI and XSWI: select-before-operate, checks and terminations (IEC 61850-7-2, 20)."""
