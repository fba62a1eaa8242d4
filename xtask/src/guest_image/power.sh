#!/bin/sh
# /etc/acpi/PWRF/00000080: acpid calls this when the power button is pressed.
/lib/hanse/stop
# Not through init, which would wait two seconds for processes that have nothing left to lose.
poweroff -f
