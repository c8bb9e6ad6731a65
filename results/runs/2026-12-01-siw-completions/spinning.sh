B=/tmp/pp; cp $1 $B
taskset 2 nice $B serve --listen 0.0.0.0:7471 --key pingpong-sizes >/dev/null 2>&1 & S=$!
sleep 1
run() { # what size verb
for every in 0 1; do
args=(); [ $every = 1 ] && args=(--option signal_every=1)
taskset 1 nice $B bench $1 10.78.0.2:7471 --key pingpong-sizes --over rdma --verb $3 --size $2 --time 300ms --warmup 100ms --busy-poll --format json "${args[@]}" ${4:+--depth $4} > /tmp/o.json 2>/tmp/err || true
python3 - $1 $3 $2 $every <<'P'
import json,sys
try: s=json.load(open('/tmp/o.json'))['steps'][0]
except Exception as e: print(sys.argv, open('/tmp/err').read()[-300:]); sys.exit()
r=s['summary'].get('rtt_ns')
print(sys.argv[1:], [r[k]/2000 for k in('min','p50','p99')] if r else '', s['summary'].get('goodput_bits_per_s'))
P
done; }
for r in 1 2 3 4 5; do
for s in 4096 65536; do run pingpong $s send; done
for s in 4096:128 65536:32 1048576:8; do run stream ${s%:*} send ${s#*:}; run stream ${s%:*} write ${s#*:}; done
done
kill $S
