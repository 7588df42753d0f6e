# Makes the database at the first start, then serves it. PostgreSQL refuses to run as root, which a berth's user is.
set -eu

if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA"
  chown postgres: "$PGDATA"
  exec setpriv --reuid postgres --regid postgres --clear-groups sh "$0"
fi

if [ ! -e "$PGDATA/PG_VERSION" ]; then
  initdb --auth=trust --encoding=UTF8 --locale=C
fi
exec postgres -c unix_socket_directories="$PGHOST"
