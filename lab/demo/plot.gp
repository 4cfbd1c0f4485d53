# The demo's picture: guest clock less true time, over true time, a panel for each KVM.
#
#   gnuplot -e 'dir = "out/demo"' -e 'kvms = "stock ours"' lab/demo/plot.gp

tsv = dir . "/demo.tsv"
lines = "awk -F'\t' '$1 == \"%s\" && $2 == %d { print $%d }' %s"
cell(kvm, hop, column) = system(sprintf(lines, kvm, hop, column, tsv))
curve(kvm) = dir . "/" . kvm . "/curve.tsv"
title_of(kvm) = kvm eq "ours" ? "this project's KVM clock" : "mainline's KVM clock (stock)"
colour_of(kvm) = kvm eq "ours" ? "#1f6fb4" : "#c2561a"

STOPPED = 7; GAIN = 9; COUNT = 12; START = 18; END = 19

ink = "#333333"
faint = "#d9d9d9"
panels = words(kvms)

set encoding utf8
set border 3 linewidth 1 linecolor rgb ink
set tics nomirror out scale 0.6 textcolor rgb ink
set grid ytics linetype 1 linewidth 0.6 linecolor rgb "#e6e6e6"
set style data lines
unset key

# One scale for all panels, with room for the labels above and below the curves.
low = 0; high = 0; last = 0
do for [kvm in kvms] {
	stats curve(kvm) using 1:2 nooutput
	if (STATS_min_y < low) { low = STATS_min_y }
	if (STATS_max_y > high) { high = STATS_max_y }
	if (STATS_max_x > last) { last = STATS_max_x }
}
span = high - low
if (span < 1) { span = 1 }
set yrange [low - 0.12 * span : high + 0.30 * span]
set xrange [0 : last * 1.02]
top = high + 0.22 * span

do for [kind in "png svg"] {
	if (kind eq "png") {
		set terminal pngcairo size 1360, 620 font "DejaVu Sans,12" background "#ffffff"
	} else {
		set terminal svg size 1360, 620 dynamic font "DejaVu Sans,15" background "#ffffff"
	}
	set output dir . "/clock." . kind
	set multiplot layout 1, panels margins 0.075, 0.985, 0.13, 0.80 spacing 0.045, 0 \
		title "A Linux guest under an unmodified QEMU, migrated live from host A to host B and back" \
		font "DejaVu Sans Bold,15" offset 0, -0.6
	panel = 0
	do for [kvm in kvms] {
		panel = panel + 1
		unset object
		unset label
		unset arrow
		set title title_of(kvm) font "DejaVu Sans Bold,13" textcolor rgb colour_of(kvm) offset 0, 0.4
		set xlabel "true time: the physical machine's clock (s)" textcolor rgb ink
		if (panel == 1) {
			set ylabel "guest's clock − true time (ms)" textcolor rgb ink
		} else {
			unset ylabel
		}
		x0 = 0
		do for [hop = 1:2] {
			start = real(cell(kvm, hop, START)); end = real(cell(kvm, hop, END))
			set object rectangle from start, graph 0 to end, graph 1 behind \
				fillcolor rgb "#f3e3b3" fillstyle solid noborder
			set label hop == 1 ? "on host A" : "on host B" at (x0 + start) / 2, top center textcolor rgb ink
			gain = real(cell(kvm, hop, GAIN))
			set label sprintf("%+.1f ms", gain) at end + 0.012 * last, \
				real(system(sprintf("awk '$1 >= %f { print $2; exit }' %s", end, curve(kvm)))) + 0.06 * span \
				left font "DejaVu Sans Bold,12" textcolor rgb colour_of(kvm)
			set label sprintf("down %.0f ms", real(cell(kvm, hop, STOPPED))) at (start + end) / 2, graph 0.03 center \
				font "DejaVu Sans,10" textcolor rgb "#7a6420"
			x0 = end
		}
		set label "on host A" at (x0 + last) / 2, top center textcolor rgb ink
		steps = int(cell(kvm, 1, COUNT)) + int(cell(kvm, 2, COUNT))
		set label sprintf("%s step%s back seen by any vCPU", steps == 0 ? "no" : sprintf("%d", steps), steps == 1 ? "" : "s") \
			at graph 0.98, graph 0.80 right font "DejaVu Sans,11" textcolor rgb ink
		plot curve(kvm) using 1:3:4 with filledcurves fillcolor rgb colour_of(kvm) fillstyle transparent solid 0.25 noborder, \
		     curve(kvm) using 1:2 linewidth 2.6 linecolor rgb colour_of(kvm)
	}
	unset multiplot
	unset output
}
