# shellcheck shell=bash disable=SC2154,SC2034 # variables shared with mtlsproxy-pki
#
# How files come to live, well and badly. mtlsproxy-pki reads this.

# share lets the group read, if there is one: then DIR has the set-group-ID bit, and all
# that is made in it gets its group.
share() { [ ! -g . ] || chmod g+rX -- "$@"; }

# put renames a file into its place.
put() {
	share "$1"
	mv -fT -- "$1" "$2"
}

# The ways to rotate: each brings client.key and client.crt from $work to live.

by_rename() {
	put "$work/client.key" live/client.key
	sleep "$pause"
	put "$work/client.crt" live/client.crt
}

by_kubernetes() {
	local old new f
	old=$(readlink live/..data || true)
	new=..$(date -u +%Y_%m_%d_%H_%M_%S).$RANDOM$RANDOM
	mkdir "live/$new"
	share "live/$new"
	put "$work/client.key" "live/$new/client.key"
	put "$work/client.crt" "live/$new/client.crt"
	ln -sfn "$new" live/..data_tmp
	mv -fT live/..data_tmp live/..data
	for f in client.key client.crt; do # links that stay, made the first time
		[ "$(readlink "live/$f" || true)" = "..data/$f" ] && continue
		ln -sfn "..data/$f" "live/.$f"
		mv -fT "live/.$f" "live/$f"
	done
	[[ $old != ..2* ]] || rm -rf -- "live/$old"
}

by_certbot() {
	local archive=archive/client n=1
	mkdir -p "$archive"
	share archive "$archive"
	while [ -e "$archive/privkey$n.pem" ]; do n=$((n + 1)); done
	put "$work/client.key" "$archive/privkey$n.pem"
	put "$work/client.crt" "$archive/fullchain$n.pem"
	rm -f live/client.key
	ln -s "../../$archive/privkey$n.pem" live/client.key
	sleep "$pause"
	rm -f live/client.crt
	ln -s "../../$archive/fullchain$n.pem" live/client.crt
}

by_directory() {
	local old new other n=1
	old=$(readlink live)
	while [ -e "releases/$n" ]; do n=$((n + 1)); done
	new=releases/$n
	mkdir "$new"
	share "$new"
	find "$old" -mindepth 1 -maxdepth 1 ! -name client.key ! -name client.crt -exec cp -a -t "$new" {} +
	put "$work/client.key" "$new/client.key"
	put "$work/client.crt" "$new/client.crt"
	ln -sfn "$new" live.new
	mv -fT live.new live
	for other in releases/*; do # but for the one before, which may still be read
		[ "$other" = "$old" ] || [ "$other" = "$new" ] || rm -rf -- "$other"
	done
}

by_write() {
	local f half
	for f in client.key client.crt; do
		half=$(($(stat -c %s "$work/$f") / 2))
		head -c "$half" "$work/$f" >"live/$f"
		share "live/$f"
		sleep "$pause"
		tail -c "+$((half + 1))" "$work/$f" >>"live/$f"
	done
}

by_chmod() {
	chmod 0644 "$work/client.key"
	mv -fT "$work/client.key" live/client.key
	put "$work/client.crt" live/client.crt
	sleep "$pause"
	chmod 0600 live/client.key
	share live/client.key
}

# verb_bad brings to live what must be refused.
verb_bad() {
	local what=${args[0]}
	case $what in
	half-written | foreign-key | open-key | unreadable-key | missing) ;;
	expired) from=$((now - 7200)) until=$((now - 3600)) ;;
	not-yet-valid) from=$((now + 3600)) until=$((now + 3600 + lifetime)) ;;
	wrong-usage) use=serverAuth ;;
	empty-ca)
		: >"$work/ca.crt"
		put "$work/ca.crt" live/ca.crt
		;;
	missing-ca) rm -f live/ca.crt ;;
	garbage)
		head -c 10000000 /dev/urandom >"$work/client.crt"
		put "$work/client.crt" live/client.crt
		;;
	stranger) make_authorities "$work/strange" stranger ;; # gone as soon as it has signed
	*) usage "there is nothing bad called \"$what\"" ;;
	esac
	case $what in
	empty-ca | missing-ca | garbage) ;;
	*)
		make_client
		place_bad "$what"
		;;
	esac
	echo "live: $what; mend it with: mtlsproxy-pki good $dir"
}

# place_bad brings a pair to live and spoils it on the way, if it is not bad by itself.
place_bad() {
	local size last
	case $1 in
	half-written) # in the midst of the last certificate: a leaf without its intermediate can be read
		size=$(stat -c %s "$work/client.crt")
		last=$(grep -bo -- '-----BEGIN' "$work/client.crt" | tail -n 1)
		truncate -s $(((${last%%:*} + size) / 2)) "$work/client.crt"
		;;
	foreign-key)
		rm "$work/client.key"
		make_key "$work/client.key"
		;;
	missing)
		rm -f live/client.crt live/client.key
		return
		;;
	esac
	put "$work/client.key" live/client.key
	put "$work/client.crt" live/client.crt
	case $1 in
	open-key) chmod 0644 live/client.key ;;
	unreadable-key) chmod 0000 live/client.key ;;
	esac
}
