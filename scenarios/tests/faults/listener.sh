#!/bin/sh
# A server to break: shakes hands over TLS on port 5000 and sends back what it gets, one client after the other. A second process
# beside it has nothing to do but to be found by its name.
set -eu
sleep 86400 &
exec openssl s_server -accept 5000 -cert /dora/tls/node.crt -key /dora/tls/node.key -quiet -rev </dev/null
