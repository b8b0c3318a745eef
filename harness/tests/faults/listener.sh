#!/bin/sh
# A server to break: sends back what it gets on port 5000, to any number of clients at once. A second process beside it has nothing to do
# but to be found by its name.
set -eu
sleep 86400 &
exec perl -MIO::Socket::INET -e '
  $SIG{CHLD} = "IGNORE";
  my $server = IO::Socket::INET->new(LocalPort => 5000, Listen => 64, ReuseAddr => 1) or die "listen: $!";
  while (1) {
    my $client = $server->accept or next;
    if (!fork) {
      close $server;
      my $bytes;
      while (sysread $client, $bytes, 4096) { syswrite $client, $bytes }
      exit;
    }
    close $client;
  }'
