#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs inside the new root: extensions are merged before the final system's manager reads its units,
# so that nothing has to make it read them again.
set -eu
rm -f /usr/lib/systemd/system/ensure-sysext.service /etc/systemd/system/sysinit.target.wants/ensure-sysext.service
sed -i '/ensure-sysext/d' /usr/lib/systemd/system-preset/50-flatcar.preset
