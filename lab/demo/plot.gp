# The demo's picture: guest clock less true time, over true time, a panel for each run.
#
#   gnuplot -e 'dir = "out/demo"' -e 'runs = "stock ours patched"' lab/demo/plot.gp

# Columns of demo.tsv, of which cell() fetches one.
STOPPED = 7; GAIN = 9; BOUND = 10; APART = 11; LARGEST = 15; COUNT = 16; READINGS = 20; START = 22; END = 23
fetch = "awk -F'\t' '$1 == \"%s\" && $2 == %d { print $%d }' %s/demo.tsv"
cell(run, hop, column) = real(system(sprintf(fetch, run, hop, column, dir)))
curve(run) = dir . "/" . run . "/curve.tsv"
after = "awk '$1 >= %f { print $2; exit }' %s"
level(run, time) = real(system(sprintf(after, time, curve(run))))

name(run) = run eq "stock" ? "Debian's QEMU, mainline's KVM" : \
	run eq "ours" ? "Debian's QEMU, this project's KVM" : "QEMU with our series, this project's KVM"
colour(run) = run eq "stock" ? "#c2561a" : run eq "ours" ? "#7a68ae" : "#1f6fb4"
part(ms) = abs(ms) < 1 ? sprintf("%+.3f", ms) : sprintf("%+.0f", ms)
apart(run) = sprintf("its two clocks part by %s and %s ms", part(cell(run, 1, APART)), part(cell(run, 2, APART)))
back(count, largest) = count == 0 ? "no step back" : \
	sprintf("%.0f step%s back, the largest %.0f ns,", count, count == 1 ? "" : "s", largest)
summary(run) = sprintf("{/=11 %s}\n{/=11 %s in %.0f million readings}", apart(run), \
	back(cell(run, 1, COUNT) + cell(run, 2, COUNT), \
	     cell(run, 1, LARGEST) > cell(run, 2, LARGEST) ? cell(run, 1, LARGEST) : cell(run, 2, LARGEST)), \
	(cell(run, 1, READINGS) + cell(run, 2, READINGS)) / 1e6)

ink = "#333333"
soft = "#777777"
band = "#f6ead0"

set encoding utf8
set border 3 linewidth 1 linecolor rgb soft
set tics nomirror out scale 0.5 textcolor rgb ink
set grid ytics linetype 1 linewidth 0.6 linecolor rgb "#ebebeb"
set bars 0
unset key

# One scale for all panels, with room for the hosts' names above the curves.
low = 0; high = 0; last = 0
do for [run in runs] {
	stats curve(run) using 1:2 nooutput
	if (STATS_min_y < low) { low = STATS_min_y }
	if (STATS_max_y > high) { high = STATS_max_y }
	if (STATS_max_x > last) { last = STATS_max_x }
}
span = high - low < 1 ? 1 : high - low
set yrange [low - 0.17 * span : high + 0.24 * span]
set xrange [0 : last * 1.01]
top = high + 0.17 * span
bottom = low - 0.07 * span

do for [kind in "png svg"] {
	if (kind eq "png") {
		set terminal pngcairo size 1500, 680 font "DejaVu Sans,12" background "#ffffff"
	} else {
		set terminal svg size 1500, 680 dynamic font "DejaVu Sans,16" background "#ffffff"
	}
	set output dir . "/clock." . kind
	set multiplot layout 1, words(runs) margins 0.07, 0.985, 0.17, 0.76 spacing 0.04, 0 \
		title "A Linux guest on its TSC, live-migrated from host A to host B and back: what its clock lost" \
		font ",16" textcolor rgb ink offset 0, -0.7
	set label 1 at screen 0.985, 0.025 right textcolor rgb soft font ",10" \
		"Bars: what each reading of the guest's clock, bracketed by the physical machine's, allows. " . \
		"The guest's clock is the TSC; the other one is kvmclock."
	do for [i = 1:words(runs)] {
		run = word(runs, i)
		set title "{/:Bold=14 " . name(run) . "}\n" . summary(run) textcolor rgb colour(run) offset 0, 0.3
		set xlabel "true time, by the physical machine's clock (s)" textcolor rgb ink
		if (i == 1) { set ylabel "guest's clock − true time (ms)" textcolor rgb ink offset 0.5, 0 }
		else { unset ylabel }
		x0 = 0
		do for [hop = 1:2] {
			begin = cell(run, hop, START); end = cell(run, hop, END); middle = (begin + end) / 2
			new = level(run, end); old = new - cell(run, hop, GAIN)
			set object hop rectangle from begin, graph 0 to end, graph 1 behind \
				fillcolor rgb band fillstyle solid border rgb band linewidth 3
			set label 10 + hop sprintf("on host %s", hop == 1 ? "A" : "B") at (x0 + begin) / 2, top center textcolor rgb soft
			set arrow hop from middle, old to middle, new filled size screen 0.007, 18 linewidth 1.6 linecolor rgb colour(run)
			# Beside the arrow, or below a curve that goes straight on.
			set label 20 + hop sprintf("%+.0f ± %.0f ms", cell(run, hop, GAIN), cell(run, hop, BOUND)) \
				at begin - 0.015 * last, (old + new) / 2 - (abs(new - old) < 0.1 * span ? 0.1 * span : 0) right font ",13" textcolor rgb colour(run)
			set label 30 + hop sprintf("stopped\n%.0f ms", cell(run, hop, STOPPED)) at end + 0.008 * last, bottom left \
				font ",10" textcolor rgb "#8a6d1f"
			x0 = end
		}
		set label 13 "on host A" at (x0 + last) / 2, top center textcolor rgb soft
		plot curve(run) using 1:2:3:4 with yerrorbars pointtype 0 linewidth 1 linecolor rgb "#c8c8c8", \
		     curve(run) using 1:2 with lines linewidth 3 linecolor rgb colour(run)
		unset label 1
	}
	unset multiplot
	unset output
}
