package Through;

# Makes PostgreSQL's own tests of pgbench use the servers of stage.sh: they ask a PostgreSQL::Test::Cluster to start one and to connect to it.
# CONFORMANCE_DIRECTORY has data/ and server.log, CONFORMANCE_PORT is the server's or pgward's, CONFORMANCE_DATABASE in place of `postgres`.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

my $directory = $ENV{CONFORMANCE_DIRECTORY};

no warnings 'redefine';
package PostgreSQL::Test::Cluster;

my $new = \&new;
*new = sub {
	my ($class, $name) = @_;
	my $node = $new->($class, $name, port => $ENV{CONFORMANCE_PORT});
	$node->{_host} = '127.0.0.1';
	$node->{_logfile} = "$directory/server.log";
	return $node;
};
*data_dir = sub { return "$directory/data"; };
# Neither started, stopped nor cleaned here.
*init = sub { };
*start = sub { return 1; };
*stop = sub { return 1; };
*teardown_node = sub { };
*clean_node = sub { };
my $connstr = \&connstr;
*connstr = sub {
	my ($self, $database) = @_;
	return $connstr->($self, defined $database ? $ENV{CONFORMANCE_DATABASE} : undef);
};

INIT { $ENV{PGDATABASE} = $ENV{CONFORMANCE_DATABASE}; $ENV{PGUSER} = 'postgres'; }

1;
